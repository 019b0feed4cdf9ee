"""What guardrails look at, and what they find. Pure."""

from collections.abc import Iterator

import msgspec

from shared.requests import Redaction, ScreenRequest


class Finding(msgspec.Struct, frozen=True):
    """One thing a guardrail objects to: words to replace, or a reason to refuse the whole."""

    redactions: list[Redaction] = []
    """Spans to replace, by the index of the text; ignored when `block`."""
    block: bool = False
    message: str = ""
    """For the client, when `block`: LiteLLM's wording."""
    status: int = 400
    """HTTP status of the refusal."""
    types: list[str] = []
    """What was found, by type (never the text itself): for the log."""


class Inspection(msgspec.Struct, frozen=True):
    """Texts before a guardrail. `index` is the text's place in the question; the asker knows its
    address.
    """

    texts: list[str]
    stage: str
    kinds: list[str] = []
    """Of each text; empty: all are `text`."""
    roles: list[str] = []
    groups: list[int] = []
    names: list[str] = []
    partial: bool = False
    call_type: str = ""
    customer_id: str | None = None

    @classmethod
    def of(cls, request: ScreenRequest) -> "Inspection":
        n = len(request.texts)

        def whole(values: list[str] | list[int]) -> list:  # type: ignore[type-arg]
            return values if len(values) == n else []

        return cls(
            request.texts,
            request.stage,
            whole(request.kinds),
            whole(request.roles),
            whole(request.groups),
            whole(request.names),
            request.partial,
            request.call_type,
            request.customer_id,
        )

    def kind(self, index: int) -> str:
        return self.kinds[index] if self.kinds else "text"

    def role(self, index: int) -> str:
        return self.roles[index] if self.roles else ""

    def name(self, index: int) -> str:
        return self.names[index] if self.names else ""

    def read(self, kinds: frozenset[str]) -> Iterator[tuple[int, str]]:
        """(index, text) of the texts of these kinds."""
        if not self.kinds:
            return enumerate(self.texts)
        return ((i, text) for i, text in enumerate(self.texts) if self.kinds[i] in kinds)

    def messages(self, kinds: frozenset[str]) -> list["Message"]:
        """The texts of these kinds, parts of one message together."""
        found: list[Message] = []
        for index, text in self.read(kinds):
            group = self.groups[index] if self.groups else 0
            if group and found and found[-1].group == group:
                found[-1].indexes.append(index)
                found[-1].parts.append(text)
            else:
                found.append(Message(group, self.role(index), [index], [text]))
        return found

    def with_redactions(self, redactions: list[Redaction]) -> "Inspection":
        """The texts as the next guardrail sees them."""
        if not redactions:
            return self
        texts = list(self.texts)
        for index in {r.text for r in redactions}:
            texts[index] = replaced(texts[index], [r for r in redactions if r.text == index])
        return msgspec.structs.replace(self, texts=texts)


class Message(msgspec.Struct):
    """One text, or the parts of one message."""

    group: int
    role: str
    indexes: list[int]
    parts: list[str]

    @property
    def text(self) -> str:
        return "".join(self.parts) if len(self.parts) > 1 else self.parts[0]

    def redactions(self, start: int, end: int, replacement: str) -> Iterator[Redaction]:
        """A span of `text` as spans of its parts: the replacement stands where it starts."""
        at = 0
        for index, part in zip(self.indexes, self.parts, strict=True):
            first, last = max(start, at), min(end, at + len(part))
            if first < last or (first == last == start == end):
                yield Redaction(index, first - at, last - at, replacement if first == start else "")
            at += len(part)


def replaced(text: str, redactions: list[Redaction]) -> str:
    """`redactions`: of this text, none overlapping another."""
    pieces, done = [], 0
    for redaction in sorted(redactions, key=lambda r: r.start):
        pieces += [text[done : redaction.start], redaction.replacement]
        done = redaction.end
    return "".join([*pieces, text[done:]])
