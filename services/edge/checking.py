"""Do the models answer? Each deployment is really called: for `/health`, at most once in
`health_check_interval`, whoever asks; and where `background_health_checks` is on every so often by
itself, so that nobody who asks waits for a provider.

Each call is in the book, as the asker's (in the background: the master key's), with the tag
`litellm-internal-health-check`. A check that fails counts as any call that fails: the deployment
may rest for it. `model_info` says more of a deployment: `mode`, `health_check_model` (what is
called instead; a pattern is checked only by it), `health_check_timeout` in seconds,
`health_check_max_tokens`, `disable_background_health_check`.
"""

import asyncio
import random
from typing import Any

import msgspec
import structlog

from services.edge.asked import Asked
from services.edge.attempts import Attempts
from services.edge.checks import Checked
from services.edge.formats.base import Hints
from services.edge.formats.openai import CHAT, EMBEDDINGS, OpenAI
from services.edge.http import Request, WholeAnswer
from services.edge.http.budget import Account
from services.edge.parts import Parts
from services.edge.prepared import Prepared
from services.edge.reading import Head
from services.edge.routing.plan import Group, Rules
from services.edge.routing.way import Way
from services.edge.screening import UNSCREENED
from shared import routes
from shared.errors import RefusedError
from shared.grant import Candidate, Denial, Grant, Permit
from shared.ids import DeploymentId, digest_key

log = structlog.get_logger()

TAG = "litellm-internal-health-check"
AT_ONCE = 8
CHECK_MS = 60_000
CHECKED_MAX = 1_000
"""Deployments of one question."""
MAX_TOKENS = 5
MODELS = "/models"
_BODIES: dict[str, tuple[OpenAI, bytes]] = {
    "chat": (CHAT, b'{"model":%b,"messages":[{"role":"user","content":"ping"}],"max_tokens":%d}'),
    "embedding": (EMBEDDINGS, b'{"model":%b,"input":"ping"}'),
}
"""`model_info.mode` -> what is asked. Other modes are asked nothing: an image costs."""


async def checked(
    parts: Parts, request: Request, head: Head, wanted: str = "", wanted_id: str = "", *, in_background: bool = False
) -> list[Checked]:
    """Of all deployments that the asker may use, as they are known or found out now. Raises
    RefusedError.

    Args:
        wanted, wanted_id: of this model, or deployment, alone.
        in_background: what is known is found out again.
    """
    listing = await parts.grants.decide(head.digest, head.shape, MODELS, "")
    if isinstance(listing, Denial):
        raise RefusedError(listing.refusal)
    asked = {name: name for name in listing.models} | _by_pattern(parts)
    found: dict[DeploymentId, tuple[bool, str, str, Candidate, Grant]] = {}
    for shown, name in asked.items():
        if wanted not in ("", shown):
            continue
        decision = await parts.grants.decide(head.digest, head.shape, CHAT.route, name)
        if not isinstance(decision, Grant):
            continue
        for candidate in decision.candidates:
            target = parts.targets.get(candidate.deployment_id)
            if target is None or wanted_id not in ("", candidate.deployment_id):
                continue
            alone = target.deployment.info.get("disable_background_health_check") is True
            if not (in_background and alone):
                found.setdefault(candidate.deployment_id, (alone, shown, name, candidate, decision))
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(
        id: DeploymentId, alone: bool, shown: str, name: str, candidate: Candidate, decision: Grant
    ) -> Checked:
        async with slots:
            return await parts.checks.of(
                id,
                parts.clock.seconds(),
                lambda: _check(parts, request, head, shown, name, candidate, decision),
                again=in_background,
                alone=alone,
            )

    return await asyncio.gather(*(one(id, *each) for id, each in list(found.items())[:CHECKED_MAX]))


def _by_pattern(parts: Parts) -> dict[str, str]:
    """Patterns (`openai/*`) and the model by which each is checked."""
    return {
        each.model_name: str(each.info["health_check_model"])
        for each in (target.deployment for target in parts.targets.values())
        if "*" in each.model_name and isinstance(each.info.get("health_check_model"), str)
    }


async def _check(
    parts: Parts, request: Request, head: Head, shown_as: str, name: str, candidate: Candidate, decision: Grant
) -> Checked:
    """One call, of one attempt, to just this deployment. Raises nothing of what it meets."""
    target = parts.targets[candidate.deployment_id]
    deployment = target.deployment
    shown: dict[str, Any] = {
        "model_name": shown_as,
        "model": f"{deployment.provider}/{deployment.upstream_model}",
        "model_id": deployment.id,
        "api_base": deployment.api_base,
    }
    mode = str(deployment.info.get("mode") or "chat")
    if mode not in _BODIES:
        error = f"{mode} models aren't called by a health check"
        return Checked(parts.clock.seconds(), False, {**shown, "error_code": "not_checked", "error": error})
    format, body = _BODIES[mode]
    route = routes.named(format.route)
    assert route is not None
    said = msgspec.json.encode(name)
    filled = body % (
        (said, _number(deployment.info, "health_check_max_tokens", MAX_TOKENS)) if format is CHAT else said
    )
    call = format.read(filled, Hints())
    instead = deployment.info.get("health_check_model")
    if isinstance(instead, str) and "*" not in deployment.model_name:
        candidate = msgspec.structs.replace(candidate, upstream_model=instead.partition("/")[2] or instead)
    permit = Permit(decision, [candidate], [*decision.tags, TAG], decision.spend_logs_metadata)
    asked = Asked(request, route, format, head, call, Prepared(decision), permit, UNSCREENED, parts.clock.seconds())
    limit_ms = min(_number(deployment.info, "health_check_timeout", CHECK_MS // 1000) * 1000, deployment.timeout_ms)
    rules = Rules(retries=0, fallbacks=False)
    way = Way([Group(name, [candidate])], rules, limit_ms, parts.routing, candidate.deployment_id, target)
    attempts = Attempts(parts, asked, way)

    def checked(healthy: bool, **more: Any) -> Checked:
        now = parts.clock.seconds()
        return Checked(now, healthy, {**shown, **more}, parts.clock.unix_ms(), now - asked.started)

    try:
        answer = await attempts.run()
        status, said_of_it = (
            answer.status,
            answer.body[:500].decode("utf-8", "replace") if isinstance(answer, WholeAnswer) else "",
        )
        code = f"provider_{status}"
    except RefusedError as no:
        status, said_of_it, code = no.refusal.status, no.refusal.message, no.refusal.code
    if status < 300:
        return checked(healthy=True)
    return checked(healthy=False, error_code=code, error=said_of_it, exception_status=status)


def _number(info: dict[str, Any], name: str, usual: int) -> int:
    found = info.get(name)
    return (
        int(found) if isinstance(found, int | float) and not isinstance(found, bool) and 1 <= found <= 86_400 else usual
    )


# ── by itself ──


class Nobody:
    """In a connection's place: nothing is sent, and nothing is held of anybody's."""

    writing_paused = False

    def __init__(self) -> None:
        self.account = Account(lambda: None)

    def begin(self, request: Request, *, closing: bool) -> bool:
        return False

    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def flow(self) -> None: ...
    def abort(self) -> None: ...
    def hold(self, size_bytes: int, *, force: bool = False) -> bool:
        return True

    def recognised(self) -> None: ...


async def in_background(parts: Parts, interval_s: float) -> None:
    """Look at every deployment, and again after each interval: at first within a part of it, so
    that edges don't all ask at once.
    """
    await asyncio.sleep(random.random() * min(interval_s, 30.0))
    while True:
        master = parts.sso.master_key
        digest, shape = (None, "none") if not master else (digest_key(master.reveal()), "sk")
        request = Request(Nobody(), asyncio.get_running_loop(), None, "GET", b"/health", {}, 1, True, None)
        try:
            found = await checked(parts, request, Head(digest, shape, None, None), in_background=True)
            bad = [str(each.shown["model_id"]) for each in found if not each.healthy]
            log.info("models_checked", checked=len(found), unhealthy=bad[:20])
        except RefusedError as no:
            log.warning("models_not_checked", reason=no.refusal.code)
        except Exception as error:
            log.error("models_not_checked", exc_info=error)
        await asyncio.sleep(interval_s)
