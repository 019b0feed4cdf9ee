"""A stream of OpenAI's chat as one of its Responses: items one after another, each with a beginning
and an end.

Calls go out when they are whole: chats interleave them, and a tool that takes text has its text in
JSON.
"""

from typing import Any

from services.edge.providers.translate import openai_responses__chat as responses
from services.edge.providers.translate.chat_answer import Answer, ChatStream, Said
from services.edge.providers.translate.wire import encode


class Numbered:
    """Numbers them."""

    def __init__(self) -> None:
        self._number = 0

    def event(self, kind: str, **said: Any) -> bytes:
        data = encode({"type": kind, "sequence_number": self._number, **said})
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    def begun(self, head: dict[str, Any]) -> list[bytes]:
        return [self.event("response.created", response=head), self.event("response.in_progress", response=head)]

    def whole(self, at: int, item: responses.Item) -> list[bytes]:
        """An item that is known from its beginning to its end."""
        own: dict[str, Any] = {"output_index": at, "item_id": item["id"]}
        if item["type"] == "message":
            text, empty = item["content"][0], {**item["content"][0], "text": ""}
            part = {**own, "content_index": 0}
            begun: responses.Item = {**item, "status": "in_progress", "content": []}
            inner = [
                self.event("response.output_item.added", output_index=at, item=begun),
                self.event("response.content_part.added", **part, part=empty),
                self.event("response.output_text.delta", **part, delta=text["text"], logprobs=[]),
                self.event("response.output_text.done", **part, text=text["text"], logprobs=[]),
                self.event("response.content_part.done", **part, part=text),
            ]
        elif item["type"] == "reasoning":
            inner = [self.event("response.output_item.added", output_index=at, item={**item, "summary": []})]
            for text in item["summary"]:
                part = {**own, "summary_index": 0}
                inner += [
                    self.event("response.reasoning_summary_part.added", **part, part={**text, "text": ""}),
                    self.event("response.reasoning_summary_text.delta", **part, delta=text["text"]),
                    self.event("response.reasoning_summary_text.done", **part, text=text["text"]),
                    self.event("response.reasoning_summary_part.done", **part, part=text),
                ]
        else:
            name = "input" if item["type"] == "custom_tool_call" else "arguments"
            kind = "custom_tool_call_input" if name == "input" else "function_call_arguments"
            begun = {**item, "status": "in_progress", name: ""}
            inner = [
                self.event("response.output_item.added", output_index=at, item=begun),
                self.event(f"response.{kind}.delta", **own, delta=item[name]),
                self.event(f"response.{kind}.done", **own, **{name: item[name]}),
            ]
        return [*inner, self.event("response.output_item.done", output_index=at, item=item)]

    def ended(self, whole: dict[str, Any]) -> bytes:
        return self.event(f"response.{whole['status']}", response=whole)


def of_response(whole: dict[str, Any]) -> list[bytes]:
    """A whole answer, to a client that asked for a stream."""
    events = Numbered()
    out = events.begun({**whole, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None})
    for at, item in enumerate(whole["output"]):
        out += events.whole(at, item)
    return [*out, events.ended(whole)]


class Stream(ChatStream):
    """
    Args:
        head: of the response.
        customs: names of the tools that take text.
    """

    def __init__(self, head: dict[str, Any], customs: frozenset[str]) -> None:
        self._tail = str(head["id"]).removeprefix("resp_")
        super().__init__(f"call_{self._tail}")
        self._head, self._customs, self._numbered = head, customs, Numbered()
        self._output: list[responses.Item] = []
        self._open = ""
        """`thoughts` or `text`, while such an item grows."""
        self._pieces: list[str] = []
        self._blocks: list[dict[str, Any]] = []
        """Signed thoughts of the item that grows."""

    def _begin(self, found: Answer, out: list[bytes]) -> None:
        self._head["model"] = found.model or self._head["model"]
        out += self._numbered.begun(self._head)

    def _fail(self, message: str, out: list[bytes]) -> None:
        failed = {"code": "server_error", "message": message}
        whole = {**self._head, "status": "failed", "error": failed, "output": self._output}
        out.append(self._numbered.ended(whole))

    def _grow(self, said: Said, out: list[bytes]) -> None:
        if said.thoughts:
            self._be("thoughts", out)
            self._piece("response.reasoning_summary_text.delta", {"summary_index": 0}, said.thoughts, out)
        if said.signed:
            self._be("thoughts", out)
            self._blocks += said.signed
        if said.text:
            self._be("text", out)
            self._piece("response.output_text.delta", {"content_index": 0, "logprobs": []}, said.text, out)
        for call in said.tool_calls or ():
            at = self._place(call)
            if call.function is not None and call.function.arguments:
                self._calls[at][2].append(call.function.arguments)

    # ── an item that grows ──

    @property
    def _at(self) -> int:
        return len(self._output)

    def _id(self) -> str:
        return f"{'rs' if self._open == 'thoughts' else 'msg'}_{self._tail}_{self._at}"

    def _be(self, kind: str, out: list[bytes]) -> None:
        if self._open == kind:
            return
        self._close(out)
        self._open, own = kind, {"output_index": self._at}
        if kind == "text":
            item = {**responses.message(self._id(), "", "in_progress"), "content": []}
            part = responses.message("", "")["content"][0]
            out.append(self._numbered.event("response.output_item.added", **own, item=item))
            out.append(self._said("response.content_part.added", {"content_index": 0, "part": part}))
        else:
            item = responses.reasoning(self._id(), "", [])
            part = {"type": "summary_text", "text": ""}
            out.append(self._numbered.event("response.output_item.added", **own, item=item))
            out.append(self._said("response.reasoning_summary_part.added", {"summary_index": 0, "part": part}))

    def _piece(self, kind: str, more: dict[str, Any], text: str, out: list[bytes]) -> None:
        self._pieces.append(text)
        out.append(self._said(kind, {**more, "delta": text}))

    def _said(self, kind: str, more: dict[str, Any]) -> bytes:
        return self._numbered.event(kind, output_index=self._at, item_id=self._id(), **more)

    def _close(self, out: list[bytes]) -> None:
        if not self._open:
            return
        text = "".join(self._pieces)
        if self._open == "text":
            item, at = responses.message(self._id(), text), {"content_index": 0}
            out.append(self._said("response.output_text.done", {**at, "text": text, "logprobs": []}))
            out.append(self._said("response.content_part.done", {**at, "part": item["content"][0]}))
        else:
            item, at = responses.reasoning(self._id(), text, self._blocks), {"summary_index": 0}
            part = {"type": "summary_text", "text": text}
            out.append(self._said("response.reasoning_summary_text.done", {**at, "text": text}))
            out.append(self._said("response.reasoning_summary_part.done", {**at, "part": part}))
        out.append(self._numbered.event("response.output_item.done", output_index=self._at, item=item))
        self._output.append(item)
        self._open, self._pieces, self._blocks = "", [], []

    def _end(self, out: list[bytes]) -> None:
        self._close(out)
        for at, (call_id, name, pieces) in self._calls.items():
            item = responses.call(f"fc_{self._tail}_{at}", call_id, name, "".join(pieces), self._customs)
            out += self._numbered.whole(self._at, item)
            self._output.append(item)
        out.append(self._numbered.ended(responses.ended(self._head, self._output, self._finish, self._usage)))
