"""`/cache/ping`, `/cache/delete`, `/cache/flushall`: for proxy admins."""

import msgspec

from services.edge import account, reading
from services.edge.answers import own_json
from services.edge.http import Request, WholeAnswer
from services.edge.parts import Parts
from shared import admission, errors
from shared.decoding import UNREADABLE
from shared.errors import RefusedError
from shared.grant import Ask
from shared.routes import Match

BODY_BYTES_MAX = 256 * 1024
KEYS_MAX = 1_000


async def serve(parts: Parts, request: Request, match: Match) -> WholeAnswer:
    head = reading.head(request)
    await parts.tokens.identify(head, request)
    decision = await parts.grants.decide(head.digest, head.shape, match.route.name, "")
    refusal = admission.admit(decision, Ask([], {}, head.ip), parts.clock.unix_ms())
    if refusal is not None:
        await account.refuse(parts, refusal, match.route, head, decision.caller)
    request.recognised()
    cache = parts.cache
    if cache is None:
        raise RefusedError(errors.bad_request("Caching is off: set litellm_settings.cache to true"))
    kind = cache.settings.kind
    if match.route.name == "/cache/ping":
        if not await cache.store.ping():
            raise RefusedError(errors.cache_unavailable())
        return own_json(
            {"status": "healthy", "cache_type": kind, "ping_response": True, "hits": cache.hits, "misses": cache.misses}
        )
    if match.route.name == "/cache/flushall":
        if not await cache.store.clear():
            raise RefusedError(errors.cache_unavailable())
        return own_json({"status": "success"})
    body = await reading.body(request, BODY_BYTES_MAX, parts.settings.edge_body_timeout_ms)
    try:
        keys = msgspec.json.decode(body, type=_Delete).keys
    except UNREADABLE:
        keys = None
    if keys is None or len(keys) > KEYS_MAX:
        raise RefusedError(errors.bad_request(f"keys must be a list of at most {KEYS_MAX} cache keys", "keys"))
    return own_json({"status": "success", "deleted": await cache.store.delete(keys)})


class _Delete(msgspec.Struct):
    keys: list[str]
