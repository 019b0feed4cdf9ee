"""OpenAI's own wires: one class, a row a route. What differs between chat, completions and
embeddings is data.
"""

from typing import Any, Final

import msgspec

from services.edge.formats import fields as fields_
from services.edge.formats import joined
from services.edge.formats.base import NO_HINTS, Call, Hints, Judged
from services.edge.formats.events import DONE
from services.edge.formats.gathered import gather
from services.edge.formats.wire import NULL, AnswerHead, answer_head
from shared.decoding import UNREADABLE


class OpenAI(msgspec.Struct, frozen=True, kw_only=True):
    """A format of OpenAI's (base.Format)."""

    name: str
    route: str
    """As messages name it."""
    path: str
    """Appended to the address of a provider that speaks this wire itself."""
    required: str
    """The request field it can't do without, besides `model`."""
    answers_in: str = "choices"
    """The answer's field that holds what was asked for."""
    streams: bool = True
    output_bound: bool = True
    """Whether the request bounds the output (`max_tokens`); False: there is none."""
    one_each: bool = False
    """Each input has one of what was asked for."""
    makes_images: bool = False
    """What its answers hold are images: each is a unit of usage."""
    default_model: str = ""
    """Of a request that names none; empty: it has to."""
    chunk: str = ""
    """`object` of a stream's chunks; empty: as in a whole answer."""

    def read(self, body: bytes, hints: Hints, model: str | None = None, default_model: str = "") -> Call:
        """Raises RefusedError with what is wrong and where.

        Args:
            model: where the path names it; it goes before the body's.
            default_model: of a request that names none, where the route has no model of its own for
                it; empty: it has to.
        """
        fields, exact = fields_.split(body)
        fields_.refuse_unsafe(fields)
        if model is None and "model" not in fields:
            model = self.default_model or default_model or None
        if model is None:
            model = fields_.model_of(fields, self.route)
        else:
            fields_.check_model(model)
            fields["model"] = joined.quoted(model)
            exact = False
        fields_.required(fields, self.required, self.route)
        stream = "stream" in fields and fields_.flag(fields, "stream") and self.streams
        plain = hints is NO_HINTS and fields_.FOR_US.isdisjoint(fields)
        call = Call(body, fields, model, stream, plain=plain, exact=fields if exact else None)
        if not plain or "stream_options" in fields:
            fields_.add_common(call, hints)
        if not self.output_bound:
            call.max_output_tokens = 0
        elif not _BOUNDS.isdisjoint(fields):
            call.max_output_tokens = _max_output_tokens(fields)
        return call

    def upstream_fields(self, call: Call, *, ask_usage: bool = True) -> dict[str, msgspec.Raw]:
        """What of a request is the provider's: without the gateway's own fields, and with the usage
        chunk asked for.
        """
        gateway = fields_.GATEWAY_FIELDS
        if gateway.isdisjoint(call.fields):
            fields = dict(call.fields)
        else:
            fields = {name: raw for name, raw in call.fields.items() if name not in gateway}
        if call.stream and ask_usage:
            fields["stream_options"] = msgspec.Raw(fields_.stream_options(call.fields))
        if "store" not in fields:
            return fields
        metadata = fields_.forwarded_metadata(call.fields)
        if metadata:
            fields["metadata"] = msgspec.Raw(msgspec.json.encode(metadata))
        return fields

    def upstream_body(self, call: Call, model: str, *, ask_usage: bool = True) -> bytes:
        """The bytes for a provider of the same wire: the client's own where nothing has to change,
        else its values' bytes joined anew."""
        if (
            model == call.model
            and call.exact is call.fields
            and (call.wants_usage or not call.stream or not ask_usage)
            and (call.plain or fields_.GATEWAY_FIELDS.isdisjoint(call.fields))
        ):
            return call.body
        return self.join(self.upstream_fields(call, ask_usage=ask_usage), model)

    def join(self, fields: dict[str, msgspec.Raw], model: str) -> bytes:
        """A body of these fields, for this model."""
        return joined.join({**fields, "model": msgspec.Raw(msgspec.json.encode(model))})

    def judge(self, body: bytes) -> Judged:
        """What a provider's 200 really is."""
        try:
            head = answer_head(body)
        except UNREADABLE:
            return Judged(AnswerHead(), "unreadable" if body.strip() else "empty")
        found: msgspec.Raw = getattr(head, self.answers_in)
        start = bytes(memoryview(found)[:2])
        if start != b"[{" and (found is NULL or start[:1] != b"[" or _is_empty(found)):
            return Judged(head, "error_answer" if head.failed() else "empty")
        if b'"error"' in body and head.failed():
            return Judged(head, "error_answer")
        return Judged(head)

    def lacks(self, call: Call, head: AnswerHead) -> bool:
        """Whether an answer has fewer than its inputs are: a client would put them beside the wrong
        ones.
        """
        try:
            inputs = _items(call.fields[self.required])
            return _is_of_texts(inputs) and len(_items(getattr(head, self.answers_in))) < len(inputs)
        except UNREADABLE:  # one text
            return False

    def as_events(self, body: bytes) -> bytes:
        """A whole answer as the stream a client asked for. Raises UNREADABLE."""
        answer: dict[str, Any] = msgspec.json.decode(body)
        head: dict[str, Any] = {
            name: answer[name] for name in ("id", "created", "model", "system_fingerprint") if name in answer
        }
        head["object"] = self.chunk or answer.get("object")
        events = []
        for choice in answer.get("choices") or ():
            if self.chunk:
                message = dict(choice.get("message") or {})
                calls = message.get("tool_calls")
                if isinstance(calls, list):
                    message["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls)]
                more = {key: value for key, value in choice.items() if key not in ("message", "finish_reason")}
                events.append({**head, "choices": [{**more, "delta": message, "finish_reason": None}]})
                finish: dict[str, Any] = {"index": choice.get("index", 0), "delta": {}}
                events.append({**head, "choices": [{**finish, "finish_reason": choice.get("finish_reason") or "stop"}]})
            else:
                events.append({**head, "choices": [choice]})
        if answer.get("usage") is not None:
            events.append({**head, "choices": [], "usage": answer["usage"]})
        return b"".join([b"data: %b\n\n" % msgspec.json.encode(event) for event in events]) + DONE

    def as_whole(self, events: bytes) -> bytes:
        """A stream as the whole answer a client asked for. Raises GatheringError."""
        return gather(events, self.chunk.removesuffix(".chunk") or "text_completion")


def _is_empty(found: msgspec.Raw) -> bool:
    """Of a list, whatever its size."""
    start = bytes(memoryview(found)[1:64]).lstrip()
    return start[:1] == b"]" or (not start and not bytes(memoryview(found)[1:-1]).strip())


def _is_of_texts(inputs: list[msgspec.Raw]) -> bool:
    """Of several texts; lists of tokens are left to who sends them: servers differ in what they
    make of several.
    """
    return bool(inputs) and bytes(memoryview(inputs[0])[:1]) == b'"'


def images_in(head: AnswerHead) -> int:
    """How many an answer holds."""
    try:
        return len(_items(head.data))
    except UNREADABLE:
        return 0


_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
CHOICES_MAX: Final = 128


_BOUNDS: Final = frozenset({"max_completion_tokens", "max_tokens"})


def _max_output_tokens(fields: dict[str, msgspec.Raw]) -> int | None:
    bound = fields_.whole_number(fields, "max_completion_tokens")
    if bound is None:
        bound = fields_.whole_number(fields, "max_tokens")
    if bound is None or not 0 <= bound < 2**31:
        return None
    choices = fields_.whole_number(fields, "n")
    return int(bound * max(1, min(choices or 1, CHOICES_MAX)))


CHAT: Final = OpenAI(
    name="openai_chat",
    route="/chat/completions",
    path="/chat/completions",
    required="messages",
    chunk="chat.completion.chunk",
)
COMPLETIONS: Final = OpenAI(name="openai_completions", route="/completions", path="/completions", required="prompt")
EMBEDDINGS: Final = OpenAI(
    name="openai_embeddings",
    route="/embeddings",
    path="/embeddings",
    required="input",
    answers_in="data",
    one_each=True,
    streams=False,
    output_bound=False,
)
MODERATIONS: Final = OpenAI(
    name="openai_moderations",
    route="/moderations",
    path="/moderations",
    required="input",
    answers_in="results",
    default_model="omni-moderation-latest",
    streams=False,
    output_bound=False,
)
IMAGES: Final = OpenAI(
    name="openai_images",
    route="/images/generations",
    path="/images/generations",
    required="prompt",
    answers_in="data",
    makes_images=True,
)
RERANK: Final = OpenAI(
    name="rerank",
    route="/rerank",
    path="/rerank",
    required="query",
    answers_in="results",
    streams=False,
    output_bound=False,
)
