"""Numbers of one call against each other: which part includes which, by what they add up to.

Providers agree on the names and not on what they hold. A total, where there is one, tells: whatever
it takes to reach it is what was meant. Where nothing fits, the parts are believed and the call is
flagged.
"""

from typing import Any, Final

import msgspec

from shared.billing import Usage
from shared.money import CALL_TOKENS_MAX

THOUGHTS_IN_TOTAL: Final = frozenset({"gemini", "vertex_ai", "vertex_ai_beta"})
"""Providers whose OpenAI address tells what a model thought in the total alone. (xAI names it, and
adds it to the total.)
"""


class Counts(msgspec.Struct):
    """As said, before anything is believed."""

    input: int | None = None
    output: int | None = None
    total: int | None = None
    cached: int = 0
    written: int = 0
    written_1h: int = 0
    cached_audio: int = 0
    audio_input: int = 0
    image_input: int = 0
    reasoning: int = 0
    audio_output: int = 0
    image_output: int = 0
    input_ms: int = 0
    searches: int = 0
    sources: int = 0
    """xAI's live search bills each source it used."""
    search_context: str = ""
    service: str = ""
    flags: list[str] = []
    """Fields that held something else than a number."""


def reconcile(counts: Counts, *, generates: bool, provider: str) -> Usage | None:
    """None where nothing is said, or only zeros: a call without a token is a placeholder, not a
    count.
    """
    flags = list(counts.flags)
    given, made, total = counts.input, counts.output, counts.total
    reasoning = counts.reasoning
    if not (given or made or total or counts.input_ms or counts.searches):
        return None
    if given is None and made is None and total is not None:
        # Only a total. Of embeddings all of it is input; of what writes, as if all were written:
        # that costs most.
        given, made = (0, total) if generates else (total, 0)
        if generates:
            flags.append("total_tokens")
    elif given is None and made is None:
        pass  # counted by something else than tokens
    elif given is None:
        given = max(0, total - (made or 0)) if total is not None else 0
        if total is None:
            flags.append("prompt_tokens")
    elif made is None:
        made = max(0, total - given) if total is not None else 0
        if total is None and generates:
            flags.append("completion_tokens")
    given, made = given or 0, made or 0
    if total and total != given + made:
        rest = total - given - made
        if reasoning and rest == reasoning:
            made += reasoning
        elif counts.cached and rest == counts.cached:
            given += counts.cached
        elif counts.written and rest == counts.cached + counts.written:
            given += rest
        elif rest > 0 and provider in THOUGHTS_IN_TOTAL and generates:
            made, reasoning = made + rest, reasoning + rest
        else:
            flags.append("total_tokens")
            if rest > 0:
                made += rest
    elif counts.cached + counts.written > given:
        if not total:  # input without the cached, as Anthropic counts, and no total to say so
            given += counts.cached + counts.written
        flags.append("cached_tokens")
    if given == 0 and counts.input_ms == 0 and generates:
        flags.append("prompt_tokens")  # nobody writes to an empty prompt
    if reasoning > made:
        flags.append("reasoning_tokens")
        reasoning = made
    return Usage(
        input_tokens=_bound(given),
        output_tokens=_bound(made),
        cached_tokens=_bound(counts.cached),
        cache_write_tokens=_bound(counts.written),
        reasoning_tokens=_bound(reasoning),
        source="provider",
        cache_write_1h_tokens=_bound(min(counts.written_1h, counts.written)),
        audio_input_tokens=_bound(counts.audio_input),
        cached_audio_tokens=_bound(counts.cached_audio),
        image_input_tokens=_bound(counts.image_input),
        audio_output_tokens=_bound(counts.audio_output),
        image_output_tokens=_bound(counts.image_output),
        input_ms=_bound(counts.input_ms),
        searches=_bound(counts.searches or counts.sources),
        search_context=counts.search_context,
        service=counts.service,
        flags=tuple(dict.fromkeys(flags)),
    )


def _bound(count: int) -> int:
    return count if count <= CALL_TOKENS_MAX else CALL_TOKENS_MAX


def is_half(usage: Usage, *, generates: bool) -> bool:
    """One side wasn't counted, or is a zero that may stand for that: we look ourselves."""
    return (
        "prompt_tokens" in usage.flags
        or "completion_tokens" in usage.flags
        or (generates and usage.output_tokens == 0 and usage.input_ms == 0)
    )


def filled(usage: Usage, counted: Usage) -> Usage:
    """What the provider said, and for the side it didn't say what we counted; flagged."""
    flags = dict.fromkeys(usage.flags)
    given, made = usage.input_tokens, usage.output_tokens
    if given == 0 and counted.input_tokens:
        given = counted.input_tokens
        flags["prompt_tokens"] = None
    if made == 0 and counted.output_tokens:
        made = counted.output_tokens
        flags["completion_tokens"] = None
    return msgspec.structs.replace(usage, input_tokens=given, output_tokens=made, flags=tuple(flags))


def says_less(before: Usage, now: Usage) -> bool:
    """The same prompt once more, without what was said of its parts: they stand."""
    return (
        now.input_tokens == before.input_tokens
        and now.output_tokens >= before.output_tokens
        and (
            now.cached_tokens < before.cached_tokens
            or now.cache_write_tokens < before.cache_write_tokens
            or now.reasoning_tokens < before.reasoning_tokens
        )
    )


def more_of(before: Usage, now: Usage) -> Usage:
    """Of two counts of one answer: a later one says more of some things, and of others nothing."""
    counts: dict[str, Any] = {}
    for name in Usage.__struct_fields__:
        old, new = getattr(before, name), getattr(now, name)
        counts[name] = max(old, new) if isinstance(new, int) else new or old
    counts["flags"] = tuple(flag for flag in now.flags if flag in before.flags)  # the other one says it
    return Usage(**counts)
