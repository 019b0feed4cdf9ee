"""What a client may call: path → route, one table."""

import msgspec


class Route(msgspec.Struct, frozen=True):
    """One route; its `/v1` twin has the same `name`."""

    name: str
    """Without /v1: what policy decides by."""
    kind: str
    """llm, models, admin, book, health."""
    methods: tuple[str, ...] = ("POST",)
    call_type: str = ""
    """LiteLLM's name of the call, in the book."""
    required: str = ""
    """The request field this route can't do without, besides `model`."""
    upstream_path: str = ""
    """Appended to the deployment's api_base."""


def _llm(name: str, call_type: str, required: str) -> Route:
    return Route(name, "llm", ("POST",), call_type, required, name)


_LLM = [
    _llm("/chat/completions", "acompletion", "messages"),
    _llm("/completions", "atext_completion", "prompt"),
    _llm("/embeddings", "aembedding", "input"),
]
_POST_ADMIN = [
    "/key/generate", "/key/update", "/key/delete", "/key/block", "/key/unblock",
    "/team/new", "/team/update", "/team/delete", "/team/block", "/team/unblock",
]  # fmt: skip
_GET_ADMIN = ["/key/info", "/key/list", "/team/info", "/team/list"]
_BOOK = ["/spend/tags", "/spend/logs", "/audit"]

TABLE: dict[str, Route] = {
    **{path: route for route in _LLM for path in (route.name, "/v1" + route.name)},
    **{path: Route("/models", "models", ("GET",)) for path in ("/models", "/v1/models")},
    **{path: Route(path, "admin", ("POST",)) for path in _POST_ADMIN},
    **{path: Route(path, "admin", ("GET",)) for path in _GET_ADMIN},
    **{path: Route(path, "book", ("GET",)) for path in _BOOK},
    **{
        path: Route(path, "health", ("GET", "OPTIONS"))
        for path in ("/health/liveliness", "/health/liveness", "/health/readiness")
    },
}

AUDIT_ENTRY = Route("/audit", "book", ("GET",))


def find(path: str) -> Route | None:
    """The route of a path; `/audit/<id>` is the one with a parameter."""
    route = TABLE.get(path)
    if route is None and path.startswith("/audit/") and path.count("/") == 2:
        return AUDIT_ENTRY
    return route
