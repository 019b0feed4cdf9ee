"""What is counted where a provider gives no usage: the texts of requests, answers and stream
chunks. Pure.
"""

from collections.abc import Iterable

from services.edge.content import answer, request
from services.edge.formats import events
from services.edge.formats.base import Call, Text

_SAID = frozenset({"text", "arguments", "result", "reasoning", "name", "schema", "unknown", "file"})


def of_request(call: Call) -> tuple[list[str], int]:
    """(texts, how many tokens are given as ids). Raises RefusedError where a field can't be
    read.
    """
    found = request.of_fields(call.fields).texts
    return [text.text for text in found if text.kind in _SAID], ids_in(found)


def ids_in(some: Iterable[Text]) -> int:
    """Tokens that are given as ids (`input: [[1, 2], [3]]`): a list of them is its own count."""
    return sum(text.text.count(" ") + 1 for text in some if text.kind == "tokens" and text.text)


def of_answer(body: bytes) -> list[str]:
    return [text.text for text in answer.of_answer(body)]


def of_events(some: Iterable[bytes]) -> list[str]:
    """What the events of a stream say, in turn; its end says nothing."""
    found = [data for event in some if (data := events.data_of(event)) not in (b"", b"[DONE]")]
    return [text for data in found for _, text in of_chunk(data)]


def of_chunk(event_data: bytes) -> list[tuple[str, str]]:
    """(channel, text) of one stream chunk: a channel is a choice and the field the text grows
    in.
    """
    return [(".".join(map(str, grown.channel)), grown.text.text) for grown in answer.of_event(event_data)]
