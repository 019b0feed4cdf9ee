"""The routes that are relayed as they are: one row each."""

from typing import NamedTuple


class Kind(NamedTuple):
    """How one route is relayed."""

    wire: str
    """Whose: usage is read by it."""
    path: str
    """At a provider that speaks the wire."""
    form: bool = False
    """Whether the body is multipart/form-data."""
    is_free: bool = False
    forwards: tuple[str, ...] = ()
    """The caller's headers that the API reads."""
    is_sound: bool = False
    """Whether an answer is sound."""
    may_be_text: bool = False
    """Whether an answer may be plain text."""
    has_end: bool = False
    """Whether a stream of it says that it is over."""
    keeps: bool = False
    """Whether it names what the provider keeps: its ids are the caller's (kept.py)."""
    of_response: str = ""
    """How it asks about a response that is kept, whose id stands in `path`; empty: it is a call of
    its own.
    """


_ANTHROPIC = ("anthropic-version", "anthropic-beta")
_OPENAI = ("openai-beta",)


def _of_response(method: str, below: str) -> Kind:
    path = f"/responses/{{response_id}}{below}"
    return Kind("openai", path, is_free=True, forwards=_OPENAI, keeps=True, of_response=method)


KINDS: dict[str, Kind] = {
    "/messages": Kind("anthropic", "", forwards=_ANTHROPIC, has_end=True),
    "/messages/count_tokens": Kind("anthropic", "/count_tokens", is_free=True, forwards=_ANTHROPIC),
    "/responses": Kind("openai", "/responses", forwards=_OPENAI, has_end=True, keeps=True),
    "/responses/compact": Kind("openai", "/responses/compact", forwards=_OPENAI, keeps=True),
    "/responses/input_tokens": Kind("openai", "/responses/input_tokens", is_free=True, keeps=True),
    "/responses/{response_id}": _of_response("GET", ""),
    "DELETE /responses/{response_id}": _of_response("DELETE", ""),
    "/responses/{response_id}/input_items": _of_response("GET", "/input_items"),
    "/responses/{response_id}/cancel": _of_response("POST", "/cancel"),
    "/audio/speech": Kind("openai", "/audio/speech", is_sound=True),
    "/audio/transcriptions": Kind("openai", "/audio/transcriptions", form=True, may_be_text=True),
    "/audio/translations": Kind("openai", "/audio/translations", form=True, may_be_text=True),
    "/images/generations": Kind("openai", "/images/generations"),  # as a stream alone
    "/images/edits": Kind("openai", "/images/edits", form=True),
    "/images/variations": Kind("openai", "/images/variations", form=True),
}
