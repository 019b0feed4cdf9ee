"""Guardrails of this gateway: which there are, and trying one on a text."""

from typing import Any

import msgspec

from services.edge import reading
from services.edge.answers import own_json
from services.edge.content.redact import redacted
from services.edge.formats.base import Text
from services.edge.http import Request, WholeAnswer
from services.edge.parts import Parts
from services.edge.screening import Screening
from services.edge.surfaces.asking import granted
from shared import errors
from shared.decoding import UNREADABLE
from shared.errors import RefusedError
from shared.guardrails import Enabled
from shared.routes import Match

BODY_BYTES_MAX = 1024 * 1024
_SECRETS = ("key", "token", "secret", "password", "credential", "header")


async def serve(parts: Parts, request: Request, match: Match) -> WholeAnswer:
    route = match.route
    await granted(parts, request, route)
    if route.mutates or request.method == "POST":
        return await _apply(parts, request)
    name = match.params.get("guardrail_id")
    if name is None:
        return own_json({"guardrails": [_shown(each) for each in parts.guardrails]})
    return own_json(_shown(_named(parts, name)))


class _Asked(msgspec.Struct):
    guardrail_name: str
    text: str
    language: str | None = None
    entities: list[str] | None = None


async def _apply(parts: Parts, request: Request) -> WholeAnswer:
    """Raises RefusedError where the guardrail refuses the text, can't answer, or isn't there."""
    body = await reading.body(request, BODY_BYTES_MAX, parts.settings.edge_body_timeout_ms)
    try:
        asked = msgspec.json.decode(body, type=_Asked)
    except UNREADABLE as error:
        raise RefusedError(errors.bad_request(str(error)[:200])) from None
    return own_json({"response_text": await tried(parts, asked.guardrail_name, asked.text)})


async def tried(parts: Parts, name: str, text: str) -> str:
    """The text as the guardrail leaves it. Raises RefusedError where it refuses the text, can't
    answer, or isn't there.
    """
    guardrail = _named(parts, name)
    ref = guardrail.ref()
    screening = Screening(parts.bus_client, [ref], "apply_guardrail", None)
    look = await screening.look(ref.stages[0], [Text(("text",), text)])
    if look.refusal is not None:
        raise RefusedError(look.refusal)
    if any(outcome.action == "error" for outcome in screening.outcomes):
        raise RefusedError(errors.guardrail_unavailable(guardrail.name))
    return redacted([text], look.redactions).get(0, text)


def _named(parts: Parts, name: str) -> Enabled:
    for each in parts.guardrails:
        if each.name == name:
            return each
    raise RefusedError(errors.entity_not_found(f"Guardrail {name[:64]!r} not found", "guardrail_name"))


def _shown(each: Enabled) -> dict[str, Any]:
    """As LiteLLM shows one; what could be a credential isn't shown."""
    params = {
        name: value
        for name, value in each.params.items()
        if not any(word in name.lower() for word in _SECRETS) and isinstance(value, str | int | float | bool | list)
    }
    mode = ["logging_only"] if each.shadow else list(each.stages)
    return {
        "guardrail_id": each.name,
        "guardrail_name": each.name,
        "litellm_params": {
            **params,
            "guardrail": each.params.get("guardrail", each.spec.integration),
            "mode": mode[0] if len(mode) == 1 else mode,
            "default_on": each.default_on,
            "on_error": each.on_error,
            "deadline_ms": each.deadline_ms,
        },
        "guardrail_info": dict(each.info),
        "guardrail_definition_location": "config",
    }
