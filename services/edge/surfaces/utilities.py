"""What helps people who use or run the gateway: which routes there are, whether models answer, how
long a text is in tokens.

What `/health` shows of models is checking.py's.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec

from services.edge import checking, counting, reading
from services.edge.answers import own_json
from services.edge.formats.openai import CHAT
from services.edge.http import Request, WholeAnswer
from services.edge.parts import Parts
from services.edge.reading import Head
from services.edge.surfaces.asking import granted
from shared import bus, errors, routes, subjects
from shared.decoding import UNREADABLE
from shared.errors import RefusedError
from shared.grant import Candidate, Denial, Grant
from shared.requests import ServicesReply, ServicesRequest
from shared.routes import Match

SERVICES_TIMEOUT_MS = 2_000
BODY_BYTES_MAX = 4 * 1024 * 1024
_PARAMETERS = (
    "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "max_tokens", "max_completion_tokens", "modalities", "prediction",
    "n", "presence_penalty", "seed", "stop", "stream", "stream_options", "temperature", "top_p", "tools", "tool_choice",
    "function_call", "functions", "extra_headers", "parallel_tool_calls", "audio", "reasoning_effort", "response_format", "user",
    "service_tier", "store", "web_search_options", "verbosity", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
)  # fmt: skip
"""OpenAI's, of a chat."""


async def serve(parts: Parts, request: Request, match: Match) -> WholeAnswer:
    name = match.route.name
    if name == "/routes":
        return own_json({"routes": _routes()})
    if name == "/test":
        return own_json({"route": match.path or request.path})
    head, grant = await granted(parts, request, match.route)
    return await _SERVED[name](parts, request, head, grant)


def _routes() -> list[dict[str, Any]]:
    return [
        {"path": path, "methods": list(row.methods), "name": row.name, "endpoint": row.surface}
        for row in routes.TABLE.rows
        for path in row.paths
    ]


# ── do the models answer ──


async def _health(parts: Parts, request: Request, head: Head, grant: Grant) -> WholeAnswer:
    query = parse_qs(request.query)
    checked = await checking.checked(parts, request, head, query.get("model", [""])[0], query.get("model_id", [""])[0])
    shows_all = grant.caller.role.startswith("proxy_admin")
    good, bad = (
        [_for(each.shown, shows_all) for each in checked if each.healthy is is_good] for is_good in (True, False)
    )
    return own_json(
        {"healthy_endpoints": good, "unhealthy_endpoints": bad, "healthy_count": len(good), "unhealthy_count": len(bad)}
    )


def _for(shown: dict[str, Any], shows_all: bool) -> dict[str, Any]:
    """Where a deployment is, and what its provider said, is the operator's business."""
    return shown if shows_all else {key: shown[key] for key in ("model_name", "model_id", "error_code") if key in shown}


async def _services(parts: Parts, request: Request, head: Head, grant: Grant) -> WholeAnswer:
    service = parse_qs(request.query).get("service", [""])[0]
    if service == "slack":
        if not parts.alerts.can_tell:
            raise RefusedError(
                errors.bad_request("Slack isn't set up: general_settings.alerting and SLACK_WEBHOOK_URL", "service")
            )
        parts.alerts.tell("health_services_test", head.ip or "", "This is a test: Tollgate's alerts arrive here")
        return own_json(
            {"status": "success", "message": "Mock Slack Alert sent, verify Slack Alert Received on your channel"}
        )
    if service in ("cache", "redis"):
        if parts.cache is None or not await parts.cache.store.ping():
            raise RefusedError(errors.cache_unavailable())
        return own_json({"status": "success", "message": f"The cache ({parts.cache.settings.kind}) answers"})
    if service == "prometheus":
        return own_json({"status": "success", "message": "/metrics is served"})
    needing = [each.name for each in parts.guardrails if each.spec.needs]
    if service == "guardrails" or service in needing:
        return await _guardrail_services(parts, service)
    known = ", ".join(("slack", "cache", "prometheus", "guardrails", *needing))
    known += "; sinks are tried by a call, and their failures are in the ledger's metrics"
    raise RefusedError(errors.bad_request(f"service must be one of: {known}", "service"))


async def _guardrail_services(parts: Parts, service: str) -> WholeAnswer:
    """Of the services that guardrails ask: whether they answer, as one replica of moderation sees
    it. 503 where one doesn't.
    """
    try:
        reply = await bus.ask(
            parts.bus_client, subjects.MODERATION_SERVICES, ServicesRequest(), ServicesReply, SERVICES_TIMEOUT_MS
        )
    except bus.BusError:
        raise RefusedError(errors.guardrail_unavailable(service)) from None
    rows = [row for row in reply.services if service in ("guardrails", row.guardrail)]
    failing = [row.guardrail for row in rows if row.error]
    shown = [
        {
            "guardrail": row.guardrail, "needs": row.needs, "circuit": row.circuit, "failures": row.failures, "error": row.error or None,
            "asked_seconds_ago": None if row.seconds_ago is None else round(row.seconds_ago, 1),
        }
        for row in rows
    ]  # fmt: skip
    message = f"no answer for {', '.join(failing)}" if failing else "every service that was asked answers"
    status = "unhealthy" if failing else "success"
    return own_json({"status": status, "message": message, "services": shown}, 503 if failing else 200)


# ── tokens and parameters ──


async def _token_counter(parts: Parts, request: Request, head: Head, grant: Grant) -> WholeAnswer:
    body = await reading.body(request, BODY_BYTES_MAX, parts.settings.edge_body_timeout_ms)
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        model = msgspec.json.decode(fields["model"], type=str)
    except (*UNREADABLE, KeyError):
        raise RefusedError(
            errors.bad_request("A JSON object with model, and messages or prompt, is needed", "model")
        ) from None
    given = {name: raw for name, raw in fields.items() if bytes(raw) != b"null"}
    if given.keys().isdisjoint(counting.SAID):
        raise RefusedError(errors.bad_request("messages or prompt is needed", "messages"))
    candidate = await _candidate(parts, head, model)
    upstream = candidate.upstream_model if candidate is not None else model
    counted = await counting.of_fields(parts, upstream, given)
    return own_json(
        {
            "total_tokens": counted, "request_model": model, "model_used": upstream, "tokenizer_type": "openai_tokenizer",
            "count_source": "local_estimate", "original_response": None, "error": False, "error_message": None, "status_code": None,
        }
    )  # fmt: skip


async def _candidate(parts: Parts, head: Head, model: str) -> Candidate | None:
    """Raises RefusedError where this caller may not use the model."""
    decision = await parts.grants.decide(head.digest, head.shape, CHAT.route, model[:256])
    if isinstance(decision, Denial):
        raise RefusedError(decision.refusal)
    return decision.candidates[0] if decision.candidates else None


async def _supported(parts: Parts, request: Request, head: Head, grant: Grant) -> WholeAnswer:
    model = parse_qs(request.query).get("model", [""])[0]
    if not model:
        raise RefusedError(errors.bad_request("model is needed", "model"))
    candidate = await _candidate(parts, head, model)
    target = parts.targets.get(candidate.deployment_id) if candidate is not None else None
    if target is None:
        raise RefusedError(errors.no_deployment(model))
    refused = target.parameters.refused if target.parameters is not None else frozenset()
    return own_json({"supported_openai_params": [name for name in _PARAMETERS if name not in refused]})


_SERVED: dict[str, Callable[[Parts, Request, Head, Grant], Awaitable[WholeAnswer]]] = {
    "/health": _health,
    "/health/services": _services,
    "/utils/token_counter": _token_counter,
    "/utils/supported_openai_params": _supported,
}
