"""What the gateway shows of itself: documentation, robots.txt, its looks. For anybody, without a
key.
"""

from typing import Any

from shared.routes.route import Route

_OBJECT: dict[str, Any] = {"type": "object"}


def _page(path: str, summary: str, *also: str, answer: Any = None) -> Route:
    return Route(
        name=path, methods=("GET", "HEAD"), paths=(path, *also), surface="site", summary=summary, answer=answer
    )  # fmt: skip


ROWS = (
    _page("/", "The documentation, or where ROOT_REDIRECT_URL says"),
    _page("/docs", "The API, to read and try out"),
    _page("/redoc", "The API, to read"),
    _page("/openapi.json", "The API as an OpenAPI document", answer=_OBJECT),
    _page("/docs/assets/{name}", "A file of the documentation"),
    _page("/robots.txt", "Whether crawlers are welcome"),
    _page("/get_image", "The logo"),
    _page("/get_logo_url", "Where the logo is", answer=_OBJECT),
    _page("/get_favicon", "The icon"),
    _page("/get/ui_theme_settings", "How the pages look", answer=_OBJECT),
    Route(
        name="/cache/ping",
        methods=("GET",),
        paths=("/cache/ping",),
        surface="cache",
        summary="Whether the cache answers",
        answer=_OBJECT,
    ),
    Route(
        name="/cache/delete",
        methods=("POST",),
        paths=("/cache/delete",),
        surface="cache",
        summary="Forget answers, by the keys that x-litellm-cache-key showed",
        request={
            "type": "object",
            "properties": {"keys": {"type": "array", "items": {"type": "string"}}},
            "required": ["keys"],
        },
        answer=_OBJECT,
    ),
    Route(
        name="/cache/flushall",
        methods=("POST",),
        paths=("/cache/flushall",),
        surface="cache",
        summary="Forget all answers",
        answer=_OBJECT,
    ),
    Route(
        name="/pass-through",
        methods=("GET", "POST", "PUT", "DELETE", "PATCH"),
        paths=("/pass-through/{endpoint}",),
        surface="passthrough",
        groups=frozenset({"llm_api_routes"}),
        call_type="pass_through_endpoint",
        summary="What stands for every configured pass-through endpoint, each of which has a path of its own",
        answer=None,
    ),
    Route(
        name="/pass-through-public",
        methods=("GET", "POST", "PUT", "DELETE", "PATCH"),
        paths=("/pass-through-public/{endpoint}",),
        surface="passthrough",
        groups=frozenset({"public_routes"}),
        call_type="pass_through_endpoint",
        summary="The same for endpoints with `auth: false`",
        answer=None,
    ),
    Route(
        name="/metrics",
        methods=("GET",),
        paths=("/metrics", "/metrics/"),
        surface="scrape",
        summary="Prometheus metrics of this edge",
        answer=None,
    ),
    _page("/public/model_hub/info", "What the public model hub says of itself", answer=_OBJECT),
)
