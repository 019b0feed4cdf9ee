"""How many tokens a text is, where a provider gave no usage: `moderation.count`.

The tokenizer and its tables (65 MB and 0.5 s an encoding) are loaded by the first question, not at start: most replicas never need them.
"""

import asyncio
from collections.abc import Callable

from services.moderation.metrics import tokens_counted
from shared.bus import BusError
from shared.requests import CountReply, CountRequest

CHARACTERS_MAX = 1_000_000
"""Of one question, all texts together. More than a bus message holds."""
INLINE_CHARACTERS_MAX = 32_768
"""More is counted in a thread: about 1 ms."""

_CL100K = ("gpt-4", "gpt-3.5", "gpt-35", "text-embedding-3", "text-embedding-ada")
_O200K = ("gpt-4o", "gpt-4.1", "gpt-4.5")


def encoding_name(model: str) -> str:
    """The tokenizer of a model's family; what nobody knows is counted like OpenAI's newer models."""
    name = model.lower().rpartition("/")[2].removeprefix("ft:")
    if name.startswith(_CL100K) and not name.startswith(_O200K):
        return "cl100k_base"
    return "o200k_base"


class TokenCounter:
    """Counts; keeps the encodings it has loaded (at most two)."""

    def __init__(self) -> None:
        self._loading: dict[str, asyncio.Task[Callable[[str], int]]] = {}

    async def count(self, request: CountRequest) -> CountReply:
        """Raises BusError("bad_request") when the question is too big."""
        characters = sum(map(len, request.texts))
        if characters > CHARACTERS_MAX:
            raise BusError("bad_request")
        count = await self._encoding(encoding_name(request.model))
        texts = request.texts
        if characters > INLINE_CHARACTERS_MAX:
            tokens = await asyncio.to_thread(lambda: [count(text) for text in texts])
        else:
            tokens = [count(text) for text in texts]
        tokens_counted.inc(len(tokens))
        return CountReply(tokens)

    async def _encoding(self, name: str) -> Callable[[str], int]:
        """Loaded once, whoever asks first; a question that is given up doesn't stop the loading for the others."""
        loading = self._loading.get(name)
        if loading is None:
            loading = self._loading[name] = asyncio.create_task(asyncio.to_thread(_load, name))
        try:
            return await asyncio.shield(loading)
        except Exception:
            self._loading.pop(name, None)  # the next question tries again
            raise


def _load(name: str) -> Callable[[str], int]:
    import quicktok  # noqa: PLC0415 - costs memory only where it is used

    count: Callable[[str], int] = quicktok.get_encoding(name).count
    return count
