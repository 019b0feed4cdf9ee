"""What the gateway itself is made of: models, its settings, why a call is allowed or not, the
public hub.
"""

from math import ceil
from typing import Any

from services.edge.pages.api import AskError
from services.edge.pages.forms import Form
from services.edge.pages.view import (
    PRICED_TOKENS,
    Cell,
    Input,
    Look,
    Sending,
    Shown,
    Table,
    count,
    indented,
    instant,
    listing,
    marked,
    money,
    share,
    short,
    text_of,
    when,
)


async def playground(look: Look) -> Shown:
    """A model with a key: the browser calls it as any client does (static/play.js)."""
    return Shown(look.say("nav.playground"), {"key": "", "models": _callable(look)}, "playground.html")


async def playground_key(look: Look, form: Form) -> Shown:
    """A key of one's own for ten minutes, that may call models and nothing else."""
    body = {"duration": "10m", "key_type": "llm_api", "metadata": {"made_for": "playground"}}
    if look.visitor.user_id:
        body["user_id"] = look.visitor.user_id
    plaintext, _ = await look.api.minted("/key/generate", body)
    return Shown(look.say("nav.playground"), {"key": plaintext, "models": _callable(look)}, "playground.html")


def _callable(look: Look) -> list[str]:
    """Names to choose from; the key's own list is fetched in the browser."""
    if not look.visitor.sees_all:
        return []
    served = (each.name for each in look.api.configuration.models if not each.reason and "*" not in each.name)
    return list(dict.fromkeys(served))


async def models(look: Look) -> Shown:
    """Every deployment and how it fares at this edge, also what can't be served, and why."""
    say = look.say
    rows: list[list[Cell]] = [
        [each.name, marked(each.reason, "bad"), each.upstream, "", "", "", ""]
        for each in look.api.configuration.models
        if each.reason
    ]
    for each in look.api.deployments():
        state = marked(say("models.served"), "good")
        if each.rests_s:
            state = marked(say("models.resting", seconds=ceil(each.rests_s)), "bad")
        elif each.fails:
            state = marked(say("models.failing"), "warn")
        latency = "–" if each.latency_s is None else f"{each.latency_s * 1000:,.0f} ms"
        fails = marked(count(each.fails), "bad") if each.fails else "0"
        shown_id = marked(short(each.id), "mono")
        rows.append([each.model, state, each.upstream, count(each.calls), fails, latency, shown_id])
    columns = [
        (say("by.model"), ""), (say("keys.state"), "t"), (say("req.upstream"), ""), (say("models.calls"), "n"),
        (say("spend.failures"), "n"), (say("models.latency"), "n"), (say("models.deployment"), ""),
    ]  # fmt: skip
    tables = [Table(columns=columns, rows=rows), *await _budgets(look)]
    return Shown(say("nav.models"), listing(lead=say("models.lead"), tables=tables, live=10))


async def _budgets(look: Look) -> list[Table]:
    """What providers may spend in a term, and have; no table where nobody limits them."""
    say, found = look.say, (await look.api.policy("/provider/budgets"))["providers"]
    rows: list[list[Cell]] = []
    for name, each in found.items():
        spent, limit = each["spend"], each["budget_limit"]
        over = spent is not None and spent >= limit
        state = marked(say("budgets.over"), "bad") if over else marked(say("budgets.left"), "good")
        rows.append(
            [
                name,
                state,
                money(spent),
                money(limit),
                share(spent or 0, limit),
                each["time_period"],
                when(each["budget_reset_at"]),
            ]
        )
    columns = [
        (say("by.provider"), ""), (say("keys.state"), ""), (say("spend.total"), "n"), (say("keys.budget"), "n"), (say("spend.share"), ""),
        (say("budgets.term"), ""), (say("budgets.resets"), ""),
    ]  # fmt: skip
    return [Table(title=say("budgets.providers"), columns=columns, rows=rows)] if rows else []


async def guardrails(look: Look) -> Shown:
    """Which guardrails this gateway has and when they run; what they did; and a box to try one
    in.
    """
    say = look.say
    rows = [
        [each.name, each.kind, list(each.stages), say("yes") if each.default_on else "–", each.on_error]
        for each in look.api.configuration.guardrails
    ]
    columns = [
        (say("teams.name"), ""),
        (say("guardrails.kind"), ""),
        (say("guardrails.stages"), ""),
        (say("guardrails.default"), ""),
        (say("guardrails.on_error"), ""),
    ]
    tables = [Table(columns=columns, rows=rows), *await _report(look)]
    forms = [_trying(look, "", "")] if rows else []
    return Shown(say("nav.guardrails"), listing(lead=say("guardrails.lead"), tables=tables, forms=forms))


async def try_guardrail(look: Look, form: Form) -> Shown:
    """Nothing is kept of the text, and no model sees it."""
    say, name, text = look.say, form["guardrail"], form["text"]
    verdict, kind, after = say("guardrails.allowed"), "good", ""
    try:
        found = await look.api.tried(name, text)
        if found != text:
            verdict, kind, after = say("guardrails.changed"), "warn", found
    except AskError as error:
        verdict, kind, after = say("guardrails.refused"), "bad", str(error)
    blocks = [{"title": say("guardrails.said"), "text": after, "open": "1"}] if after else []
    values = listing(cards=[(name, verdict, kind)], blocks=blocks, forms=[_trying(look, name, text)])
    return Shown(say("guardrails.try"), values)


def _trying(look: Look, name: str, text: str) -> Sending:
    options = [(each.name, each.name) for each in look.api.configuration.guardrails]
    fields = [
        Input(name="guardrail", label=look.say("teams.name"), value=name, options=options),
        Input(
            name="text", label=look.say("guardrails.text"), value=text, type="area", hint=look.say("guardrails.kept")
        ),
    ]
    title = "" if name else look.say("guardrails.try")
    return Sending(action="/ui/guardrails/try", fields=fields, submit=look.say("guardrails.try"), title=title)


async def _report(look: Look) -> list[Table]:
    """Of the last seven days; a ledger that has no report has no table."""
    say = look.say
    try:
        found = await look.api.ledger("/guardrails/report")
    except AskError as error:
        if error.status == 404:
            return []
        raise
    rows = [
        [
            each["guardrail"], count(each["ran"]), count(each["blocked"]), count(each["redacted"]),
            count(each["would_have_blocked"] + each["would_have_redacted"]),
            marked(count(each["errors"]), "bad") if each["errors"] else "0", f"{each['p50_ms']:.2f} / {each['p99_ms']:.2f}",
            money(each["cost_usd"]),
        ]
        for each in found["guardrails"]
    ]  # fmt: skip
    columns = [
        (say("teams.name"), ""), (say("guardrails.ran"), "n"), (say("guardrails.blocked"), "n"), (say("guardrails.redacted"), "n"),
        (say("guardrails.shadow"), "n"), (say("guardrails.errors"), "n"), (say("guardrails.took"), "n"), (say("spend.cost"), "n"),
    ]  # fmt: skip
    return [Table(title=say("guardrails.report"), columns=columns, rows=rows, empty=say("guardrails.nothing"))]


async def explain(look: Look) -> Shown:
    """A dry run of a decision."""
    say, asked = look.say, look.query
    fields = [
        Input(name="key", label=say("explain.key"), value=asked["key"]),
        Input(name="model", label=say("by.model"), value=asked["model"]),
        Input(name="route", label=say("explain.route"), value=asked["route"] or "/chat/completions"),
    ]
    lead = say("explain.lead")
    if not asked["route"]:
        return Shown(say("nav.explain"), listing(lead=lead, filters=fields))
    body: dict[str, Any] = {"route": asked["route"], **asked.given("key", "model")}
    answer = await look.api.policy("/policy/explain", body=body)
    allowed = bool(answer.get("allowed"))
    cards = [
        (say("explain.allowed"), say("explain.yes" if allowed else "explain.no"), "good" if allowed else "bad"),
        (say("explain.status"), str(answer.get("status")), ""),
        *([] if allowed else [(say("explain.rule"), str(answer.get("rule")), "")]),
    ]
    refusal = answer.get("refusal")
    facts = [] if refusal is None else [(say("explain.why"), text_of(refusal.get("message")))]
    groups = [
        (
            say("explain." + name),
            [
                (field.removesuffix("_ms").replace("_", " "), _plain(field, value))
                for field, value in answer[name].items()
                if value
            ],
        )
        for name in ("caller", "grant")
        if answer.get(name)
    ]
    rest = {name: answer[name] for name in ("folded_from", "settings") if answer.get(name)}
    values = listing(
        lead=lead, filters=fields, cards=cards, facts=facts, groups=groups, tables=[_rules(look, answer)],
        blocks=[{"title": say("explain.rest"), "text": indented(rest)}],
    )  # fmt: skip
    return Shown(say("nav.explain"), values)


def _rules(look: Look, answer: dict[str, Any]) -> Table:
    """In the order they are looked at, up to the one that refused."""
    say = look.say
    rows: list[list[Cell]] = [
        [
            str(n),
            str(rule["rule"]),
            marked(say("explain.passes"), "good") if rule["allows"] else marked(say("explain.no"), "bad"),
            rule.get("why"),
            rule.get("of"),
        ]
        for n, rule in enumerate(answer.get("rules") or [], 1)
    ]
    names = (("rule", ""), ("outcome", ""), ("why", "t"), ("of", ""))
    columns = [("#", "n"), *((say("explain." + name), kind) for name, kind in names)]
    return Table(title=say("explain.rules"), columns=columns, rows=rows)


def _plain(name: str, value: Any) -> Cell:
    """A list is shown entry by entry, a deployment by what it calls, an instant as one."""
    if name == "candidates":
        return [f"{each['provider']}/{each['model']}" for each in value]
    if name == "expires_at_ms":
        return instant(value)
    return [text_of(each) for each in value] if isinstance(value, list) else text_of(value)


async def hub(look: Look) -> Shown:
    """For anybody: what is public, and nothing else."""
    found = await look.api.policy("/public/model_hub")
    shown = [
        {
            "name": row["model_group"],
            "providers": row.get("providers") or [],
            "context": _tokens(look, row, "max_input_tokens"),
            "output": _tokens(look, row, "max_output_tokens"),
            "health": row.get("health_status"),
            "price_in": _price(look, row, "input_cost_per_token"),
            "price_out": _price(look, row, "output_cost_per_token"),
            "features": [
                name.removeprefix("supports_").replace("_", " ")
                for name, value in row.items()
                if name.startswith("supports_") and value is True
            ],
        }
        for row in found
    ]
    return Shown(look.say("hub"), {"models": shown, "base": look.visitor.origin.base}, "hub.html")


def _tokens(look: Look, row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    return "" if not isinstance(value, int) else f"{value:,} {look.say('hub.tokens')}"


def _price(look: Look, row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    try:
        return "" if value is None else _per_million(float(value) * PRICED_TOKENS)
    except (TypeError, ValueError):
        raise AskError(502, look.say("ask.unreadable")) from None


def _per_million(usd: float) -> str:
    """With cents, and with what is less than one."""
    shown = f"{usd:,.4f}"
    return "$" + (shown[:-2] if shown.endswith("00") else shown.rstrip("0"))
