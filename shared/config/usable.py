"""What a service couldn't start with is taken out of the sections before they are typed, and named:
it costs what it asks for, not the start. What protects isn't here: that refuses. Pure.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, get_args

import msgspec

from shared.config import caching
from shared.config.alert_types import ALERTS, OURS
from shared.config.fields import Reading
from shared.config.schema.router import FAILURES, Strategy, StrategyArgs

Tree = dict[str, Any]


_CHANNELS = {"edge": ("slack",), "ledger": ("slack", "webhook", "email")}
"""Which a service tells people by: only that one knows whether it can."""


def only(trees: Mapping[str, Tree], environ: Mapping[str, str], reading: Reading, service: str | None) -> None:
    """
    Args:
        trees: section -> its keys, references resolved; changed.
        environ: with the file's own variables.
        service: who reads, and knows its own variables alone; None: everybody's are there.
    """
    general, litellm, router = (trees[name] for name in ("general_settings", "litellm_settings", "router_settings"))
    _alerting(general, environ, reading, _CHANNELS["ledger"] if service is None else _CHANNELS.get(service, ()))
    _admin_pages(general, reading)
    _cache(litellm, router, environ, reading, connects=service in (None, "edge"))
    for key, end in (("retry_policy", "Retries"), ("allowed_fails_policy", "AllowedFails")):
        if key in router:
            router[key] = _policy(router[key], end, f"router_settings.{key}", reading)
    by_model = router.get("model_group_retry_policy")
    if isinstance(by_model, dict):
        at = "router_settings.model_group_retry_policy"
        router["model_group_retry_policy"] = {
            model: policy
            for model, each in by_model.items()
            if (policy := _policy(each, "Retries", f"{at}.{model}", reading)) is not None
        }
    _strategy(router, reading)
    _strategy_args(router, reading)
    _provider_budgets(router, reading)


def _idle(place: str, why: str, reading: Reading) -> None:
    reading.say(place, "no effect", why)
    reading.warn(f"{place}: not used ({why})")


def _alerting(general: Tree, environ: Mapping[str, str], reading: Reading, ours: Collection[str]) -> None:
    """Channels by which somebody can be told."""
    given = general.get("alerting")
    if not isinstance(given, list):
        return
    args = general.get("alerting_args")
    to = (args.get("email_to") if isinstance(args, dict) else None) or environ.get("ALERT_EMAIL_TO")
    missing = {
        "slack": "" if general.get("alert_to_webhook_url") else _unset(environ, "SLACK_WEBHOOK_URL"),
        "webhook": _unset(environ, "WEBHOOK_URL"),
        "email": _unset(environ, "SMTP_HOST", "SMTP_SENDER_EMAIL")
        or (
            "" if to or environ.get("TEST_EMAIL_ADDRESS") else "whom to tell: alerting_args.email_to, or ALERT_EMAIL_TO"
        ),
    }
    kept = []
    for number, name in enumerate(given):
        place = f"general_settings.alerting[{number}]"
        if not isinstance(name, str):
            _idle(place, "it is no name, like slack", reading)
        elif name not in missing:
            _idle(place, f"{name[:80]!r} is none of {', '.join(missing)}", reading)
        elif name in ours and missing[name]:
            _idle(place, f"{name} needs {missing[name]}", reading)
        else:
            kept.append(name)
    general["alerting"] = kept
    _alert_types(general, reading)
    _above_zero(general, ("alerting_threshold",), "general_settings", reading)
    if isinstance(args, dict):
        _above_zero(args, _NUMBERS, "general_settings.alerting_args", reading)


_NUMBERS = (
    "minor_outage_alert_threshold", "major_outage_alert_threshold", "book_behind_s", "spend_anomaly_multiplier", "spend_anomaly_min_spend",
    "spend_anomaly_baseline_days", "spend_anomaly_factor", "spend_anomaly_usd_min",
)  # fmt: skip


def _above_zero(tree: Tree, names: Collection[str], at: str, reading: Reading) -> None:
    """What is left out is as usual."""
    for name in names:
        given = tree.get(name)
        if given is None:
            continue
        try:
            number = 0.0 if isinstance(given, bool) else float(given)
        except (TypeError, ValueError):
            number = 0.0
        if 0 < number < float("inf"):
            tree[name] = number
        else:
            _idle(f"{at}.{name}", "it is no number above 0", reading)
            del tree[name]


def _alert_types(general: Tree, reading: Reading) -> None:
    """Where none of those that are asked for is known, what is always told is left: an empty list
    would mean the usual ones.
    """
    given = general.get("alert_types")
    if not isinstance(given, list) or not given:
        return
    known = [name for name in given if isinstance(name, str) and name in ALERTS]
    for number, name in enumerate(given):
        if name not in known:
            _idle(f"general_settings.alert_types[{number}]", f"there is no alert {str(name)[:80]!r}", reading)
    general["alert_types"] = known or list(OURS)


def _unset(environ: Mapping[str, str], *names: str) -> str:
    return " and ".join(name for name in names if not environ.get(name, "").strip())


def _admin_pages(general: Tree, reading: Reading) -> None:
    """Who wrote something else wanted fewer people there: admins alone."""
    mode = general.get("ui_access_mode")
    if isinstance(mode, str) and mode not in ("all", "admin_only"):
        general["ui_access_mode"] = "admin_only"
        place = "general_settings.ui_access_mode"
        reading.say(place, "differently", "as admin_only: it is neither all nor admin_only")
        reading.warn(f"{place}: read as admin_only (it is neither all nor admin_only)")


def _cache(litellm: Tree, router: Tree, environ: Mapping[str, str], reading: Reading, *, connects: bool) -> None:
    params = litellm.get("cache_params")
    if not isinstance(params, dict) or not (litellm.get("cache") or router.get("cache_responses")):
        return
    params = litellm["cache_params"] = dict(params)
    at, given = "litellm_settings.cache_params", params.get("type")
    if given in caching.MEANT:
        params["type"], how = caching.MEANT[given]
        reading.say(f"{at}.type", "differently", how)
        reading.warn(f"{at}.type: read as {params['type']} ({how})")
    elif given is not None and given not in caching.KINDS:
        _idle(
            f"{at}.type",
            f"{str(given)[:80]!r} is none of {', '.join((*caching.KINDS, *caching.MEANT))}: nothing is cached",
            reading,
        )
        _cache_nothing(litellm, router)
        return
    if params.get("ttl") is not None:
        params["ttl"] = _number(params["ttl"])
        if caching.seconds(params["ttl"]) is None:
            _idle(f"{at}.ttl", "it must be a number of seconds", reading)
            del params["ttl"]
    if connects and caching.kind(params) == "redis" and (why := caching.why_no_redis(params, environ)):
        _idle(f"{at}.host", f"{why}: nothing is cached", reading)
        _cache_nothing(litellm, router)


def _cache_nothing(litellm: Tree, router: Tree) -> None:
    for tree, key in ((litellm, "cache"), (router, "cache_responses")):
        if key in tree:
            tree[key] = False


def _policy(given: Any, end: str, at: str, reading: Reading) -> Any:
    """`retry_policy` and its kin, with the kinds of failures that there are."""
    if given is not None and not isinstance(given, dict):
        _idle(at, f"it must be a mapping, like {{{FAILURES[0]}{end}: 2}}", reading)
        return None
    found, given = {}, given or {}
    for name, number in given.items():
        kind = f"{str(name).removesuffix(end)}Error"
        if kind in FAILURES and str(name).endswith(end) and f"{kind}{end}" not in given:
            reading.say(f"{at}.{name}", "differently", f"as {kind}{end}; LiteLLM ignores it")
            reading.warn(f"{at}.{name}: read as {kind}{end}")
            name = f"{kind}{end}"
        if str(name).removesuffix(end) not in FAILURES or not str(name).endswith(end):
            _idle(f"{at}.{name}", f"it is none of {', '.join(f'{each}{end}' for each in FAILURES)}", reading)
            continue
        number = _number(number)
        if number is None or (isinstance(number, int) and not isinstance(number, bool) and number >= 0):
            found[name] = number
        else:
            _idle(f"{at}.{name}", "it must be a whole number of zero or more", reading)
    return found


def _number(value: Any) -> Any:
    """What the environment says is a string."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()) else value


def _strategy(router: Tree, reading: Reading) -> None:
    """Who answers is chosen all the same, and nothing is opened by it."""
    given, known_ = router.get("routing_strategy"), get_args(Strategy)
    if given is not None and given not in known_:
        why = f"{str(given)[:80]!r} is none of {', '.join(known_)}; simple-shuffle is"
        _idle("router_settings.routing_strategy", why, reading)
        del router["routing_strategy"]


def _strategy_args(router: Tree, reading: Reading) -> None:
    """Each by itself: one that can't be read costs itself alone."""
    given, known_ = router.get("routing_strategy_args"), {each.name for each in msgspec.structs.fields(StrategyArgs)}
    if not isinstance(given, dict):
        return
    kept = {}
    for name, value in given.items():
        place = f"router_settings.routing_strategy_args.{name}"
        try:
            msgspec.convert({str(name): value}, StrategyArgs, strict=False)
        except msgspec.ValidationError:
            _idle(place, "it must be a number", reading)
            continue
        if name in known_:
            kept[name] = value
        else:
            _idle(place, f"it is none of {', '.join(sorted(known_))}", reading)
    router["routing_strategy_args"] = kept


_OF_BUDGETS = frozenset({"budget_limit", "max_budget", "time_period", "budget_duration"})


def _provider_budgets(router: Tree, reading: Reading) -> None:
    """A provider of which nothing of a budget is said has none; one that can't be read refuses."""
    given = router.get("provider_budget_config")
    if not isinstance(given, dict):
        return
    without = [name for name, each in given.items() if isinstance(each, dict) and not _OF_BUDGETS & each.keys()]
    router["provider_budget_config"] = {name: each for name, each in given.items() if name not in without}
    for name in without:
        _idle(f"router_settings.provider_budget_config.{name}", "it says no budget_limit", reading)
