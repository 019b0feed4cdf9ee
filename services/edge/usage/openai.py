"""Usage in OpenAI's wire, as OpenAI and everybody who imitates it writes it.

`Said` is where numbers can stand in an answer or in a stream's event: beside it (`usage`), in
`x_groq`, in a choice (Moonshot's streams), with the service tier beside all that.
"""

import contextlib
import math
from typing import Any, Final

import msgspec

from services.edge.usage.reconcile import Counts, reconcile
from shared.billing import SEARCH_CONTEXTS, Usage
from shared.decoding import UNREADABLE
from shared.money import CALL_TOKENS_MAX

NULL: Final = msgspec.Raw(b"null")
SERVICES: Final = frozenset({"flex", "priority", "batch"})
"""Any other tier (default, auto, standard, on_demand, scale ...) is the standard service, by its
price.
"""


class Said(msgspec.Struct):
    """Of an answer or an event; everything else in it is passed over."""

    usage: msgspec.Raw = NULL
    service_tier: Any = None
    x_groq: msgspec.Raw = NULL
    choices: msgspec.Raw = NULL
    output: msgspec.Raw = NULL
    """Items of Responses: what its own tools did is billed besides the tokens."""
    duration: Any = None
    """Seconds of sound, of a transcription that says nothing of usage (`verbose_json`)."""

    def found(self) -> msgspec.Raw:
        """The usage object, wherever it stands; `null` where there is none."""
        if bytes(self.usage)[:1] == b"{":
            return self.usage
        if bytes(self.x_groq)[:1] == b"{":
            return _within(self.x_groq)
        if b'"usage"' in bytes(self.choices):
            return _in_choice(self.choices)
        return NULL


class _Holder(msgspec.Struct):
    usage: msgspec.Raw = NULL


_holder = msgspec.json.Decoder(_Holder).decode
_holders = msgspec.json.Decoder(list[_Holder]).decode


def _within(raw: msgspec.Raw) -> msgspec.Raw:
    try:
        return _holder(raw).usage
    except UNREADABLE:
        return NULL


def _in_choice(raw: msgspec.Raw) -> msgspec.Raw:
    try:
        return next((choice.usage for choice in _holders(raw) if bytes(choice.usage)[:1] == b"{"), NULL)
    except UNREADABLE:
        return NULL


class _Input(msgspec.Struct, forbid_unknown_fields=True):
    cached_tokens: int | None = None
    cache_creation_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_read_tokens: int | None = None
    text_tokens: int | None = None
    cached_tokens_details: msgspec.Raw = NULL

    def more(self) -> bool:
        return bool(self.cache_creation_tokens or self.cache_write_tokens or self.cache_read_tokens) or (
            bytes(self.cached_tokens_details) != b"null"
        )


class _Output(msgspec.Struct, forbid_unknown_fields=True):
    reasoning_tokens: int | None = None
    text_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class _Plain(msgspec.Struct, forbid_unknown_fields=True):
    """What most answers say, in the types they should have."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _Input | None = None
    completion_tokens_details: _Output | None = None


_plain = msgspec.json.Decoder(_Plain).decode
_any = msgspec.json.Decoder().decode


def read(said: Said, *, generates: bool = True, provider: str = "") -> Usage | None:
    """None where nothing usable is said: nothing at all, or zeros that stand for it.

    Args:
        generates: False for embeddings and the like, where a lone total is all input.
        provider: LiteLLM's name, for what only some of them do.
    """
    service = said.service_tier if isinstance(said.service_tier, str) and said.service_tier in SERVICES else ""
    if said.usage is not NULL and not service:
        try:
            usual = _usual(_plain(said.usage))
        except UNREADABLE:
            usual = None
        if usual is not None:
            return usual
    raw = said.found()
    if bytes(raw)[:1] != b"{":
        length = _milliseconds(said.duration) if said.choices is NULL else 0
        return Usage(input_ms=length, source="provider") if length else None
    try:
        tree = _any(raw)
    except UNREADABLE:
        return None
    counts = odd(tree)
    counts.service = service or service_of(tree)
    if said.output is not NULL:
        _add_tools(counts, said.output)
    return reconcile(counts, generates=generates, provider=provider)


class _Action(msgspec.Struct):
    type: str = "search"


class _Item(msgspec.Struct):
    type: str = ""
    status: str | None = None
    action: _Action | None = None


_output = msgspec.json.Decoder(list[msgspec.Raw]).decode
_item = msgspec.json.Decoder(_Item).decode
_BILLED_TOOLS: Final = {"file_search_call": "file_search", "code_interpreter_call": "code_interpreter"}
"""Billed by the call or session, which no price of ours says: the row is flagged."""


def _add_tools(counts: Counts, output: msgspec.Raw) -> None:
    """What a provider's own tools did. Of web searches only those are billed that search, not the
    pages that were opened.
    """
    if b"_call" not in bytes(output):
        return
    items = list[_Item]()
    try:
        for raw in _output(output):
            with contextlib.suppress(*UNREADABLE):  # one that is odd hides no other
                items.append(_item(raw))
    except UNREADABLE:
        return
    items = [item for item in items if item.status != "failed"]
    searched = [i for i in items if i.type == "web_search_call" and (i.action is None or i.action.type == "search")]
    counts.searches = counts.searches or len(searched)
    counts.flags += [f"unpriced:{name}" for kind, name in _BILLED_TOOLS.items() if any(i.type == kind for i in items)]


def _usual(plain: _Plain) -> Usage | None:
    """What most answers come to, without a second look; None: there is more to look at."""
    given, made = plain.prompt_tokens, plain.completion_tokens
    details, written = plain.prompt_tokens_details, plain.completion_tokens_details
    cached = reasoning = 0
    if details is not None:
        cached = details.cached_tokens or 0
        if details.audio_tokens or details.image_tokens or details.more():
            return None
    if written is not None:
        reasoning = written.reasoning_tokens or 0
        if written.audio_tokens or written.image_tokens:
            return None
    if plain.total_tokens != given + made or not (0 <= cached <= given <= CALL_TOKENS_MAX and given):
        return None
    if not 0 <= reasoning <= made <= CALL_TOKENS_MAX:
        return None
    return Usage(given, made, cached, 0, reasoning, "provider")


def odd(tree: dict[str, Any]) -> Counts:
    """Any spelling, number by number: what isn't a number is as if it weren't there, and named
    where it should have been one.
    """
    given = _details(
        tree, "prompt_tokens_details", "input_tokens_details", "input_token_details", "prompt_token_details"
    )
    made = _details(
        tree, "completion_tokens_details", "output_tokens_details", "output_token_details", "completion_token_details"
    )
    look = _Look()
    counts = Counts(
        look.first(tree, "prompt_tokens", "input_tokens"),
        look.first(tree, "completion_tokens", "output_tokens"),
        look.first(tree, "total_tokens"),
    )
    counts.cached = (
        look.first(given, "cached_tokens", "cache_read_tokens")
        or look.first(tree, "prompt_cache_hit_tokens", "cache_read_input_tokens", "cached_tokens", "num_cached_tokens")
        or 0
    )
    counts.written = (
        look.first(given, "cache_creation_tokens", "cache_write_tokens", "cache_creation_input_tokens")
        or look.first(tree, "cache_creation_input_tokens", "cache_write_tokens")
        or 0
    )
    lived = _details(given, "cache_creation_token_details", "cache_creation") or _details(tree, "cache_creation")
    counts.written_1h = look.first(lived, "ephemeral_1h_input_tokens") or 0
    counts.cached_audio = look.first(_details(given, "cached_tokens_details"), "audio_tokens") or 0
    counts.audio_input = max(0, (look.first(given, "audio_tokens") or 0) - counts.cached_audio)
    counts.image_input = look.first(given, "image_tokens") or 0
    counts.reasoning = (
        look.first(made, "reasoning_tokens", "thinking_tokens") or look.first(tree, "reasoning_tokens") or 0
    )
    counts.audio_output = look.first(made, "audio_tokens") or 0
    counts.image_output = look.first(made, "image_tokens") or 0
    counts.input_ms = _milliseconds(tree.get("prompt_audio_seconds")) or _milliseconds(tree.get("seconds"))
    counts.searches = (
        look.first(_details(tree, "server_tool_use"), "web_search_requests")
        or look.first(tree, "num_search_queries", "web_search_requests")
        or 0
    )
    counts.sources = look.first(tree, "num_sources_used") or 0
    size = tree.get("search_context_size")
    counts.search_context = size if size in SEARCH_CONTEXTS else ""
    counts.flags = list(look.odd)
    return counts


def service_of(tree: dict[str, Any]) -> str:
    tier = tree.get("service_tier")
    return tier if isinstance(tier, str) and tier in SERVICES else ""


def _details(tree: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        found = tree.get(name)
        if isinstance(found, dict):
            return found
    return {}


class _Look:
    """Reads numbers however they are written, and remembers the names of those that are none."""

    def __init__(self) -> None:
        self.odd: dict[str, None] = {}

    def first(self, tree: dict[str, Any], *names: str) -> int | None:
        """Of the names that hold a number; None: none does."""
        for name in names:
            value = tree.get(name)
            if value is None:
                continue
            count = number(value)
            if count is not None:
                return count
            self.odd[name] = None
        return None


def number(value: Any) -> int | None:
    """12, 12.0, "12", "12.0"; a list is as many tokens as it has. None for anything else, and below
    zero.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, list):
        return len(value)
    if isinstance(value, str):
        try:
            value = float(value) if len(value) <= 24 else None
        except ValueError:
            return None
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return int(min(value, CALL_TOKENS_MAX))


def _milliseconds(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return 0
    return round(min(value, 10**7) * 1000)
