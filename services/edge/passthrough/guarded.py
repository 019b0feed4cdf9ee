"""The guardrails of a pass-through endpoint: what its request says before it goes on, and what its
answer says before that comes back.

They run one after the other, each on its own fields, and each sees what the one before left. What
can't be read isn't passed on unread: a body that is no JSON is refused, as is a compressed one.
Pictures, sound and other binary answers pass, unless `TOLLGATE_EDGE_UNREADABLE_FILES` says
`refuse`.
"""

from typing import Any

import msgspec

from services.edge.content import files
from services.edge.content.names import count_strings
from services.edge.content.redact import redacted
from services.edge.content.replace import RENAME, replace
from services.edge.content.request import walked
from services.edge.content.spelled import spelled_out
from services.edge.content.walk import walk
from services.edge.formats.base import Text
from services.edge.parts import Parts
from services.edge.screening import Screening, StreamWindow
from shared import errors
from shared.decoding import UNREADABLE
from shared.errors import Refusal, RefusedError
from shared.guarded_fields import Fields, select, steps
from shared.passthrough import Entry

CALL_TYPE = "pass_through_endpoint"


class Guarded:
    def __init__(self, parts: Parts, entry: Entry) -> None:
        """Raises RefusedError for a guardrail that isn't here (an endpoint made at run time may
        name any).
        """
        known = {each.name: each for each in parts.guardrails}
        for name in entry.guardrails:
            if name not in known:
                raise RefusedError(errors.guardrail_unavailable(name))
        self.told = Screening(parts.bus_client, [], CALL_TYPE, None)
        """Has the outcomes of all of them."""
        self._refuses_binary = parts.settings.edge_unreadable_files == "refuse"
        self._steps: list[tuple[Screening, Fields]] = []
        for each in parts.guardrails:
            if each.name in entry.guardrails:
                ref = each.ref()
                stages = ["pre_call" if stage == "during_call" else stage for stage in ref.stages]
                screening = Screening(parts.bus_client, [msgspec.structs.replace(ref, stages=stages)], CALL_TYPE, None)
                screening.outcomes = self.told.outcomes
                self._steps.append((screening, entry.guardrails[each.name]))

    def has(self, stage: str) -> bool:
        return any(screening.has(stage) for screening, _ in self._steps)

    async def request(self, body: bytes | None) -> bytes | None:
        """As it may go on. Raises RefusedError."""
        return await self._screened("pre_call", body) if body else body

    async def answer(self, body: bytes, content_type: str) -> bytes:
        """As it may come back. Raises RefusedError."""
        kind = content_type.partition(";")[0].strip().lower()
        if not body or not self.has("post_call"):
            return body
        if _is_binary(kind):
            if self._refuses_binary:
                raise RefusedError(errors.blocked_content("An answer that is no text can't be checked", 502))
            return body
        if kind.endswith("json"):
            return await self._screened("post_call", body)
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise RefusedError(errors.blocked_content("The answer's text can't be read", 502)) from None
        for screening, _ in self._steps:
            look = await screening.look("post_call", [Text((), text)])
            self.gather(screening)
            if look.refusal is not None:
                raise RefusedError(look.refusal)
            text = redacted([text], look.redactions).get(0, text)
        return text.encode()

    def windows(self) -> list[tuple[Screening, StreamWindow]]:
        return [(screening, StreamWindow(screening)) for screening, _ in self._steps if screening.has("post_call")]

    async def _screened(self, stage: str, body: bytes) -> bytes:
        for screening, fields in self._steps:
            if not screening.has(stage):
                continue
            paths = fields.request if stage == "pre_call" else fields.response
            body, value, texts = await walked(body, _read, body, paths, stage)
            look = await screening.look(stage, texts)
            self.gather(screening)
            if look.refusal is not None:
                raise RefusedError(look.refusal)
            if look.redactions:
                changed = redacted([text.text for text in texts], look.redactions)
                body = replace(body, {texts[i].address: _put(value, texts[i], text) for i, text in changed.items()})
        return body

    def gather(self, screening: Screening) -> None:
        """What it has found so far."""
        self.told.outcomes = list(
            {(o.name, o.stage, o.action): o for o in (*self.told.outcomes, *screening.outcomes)}.values()
        )


class GuardedStream:
    """Server-sent events as they may come back: each guardrail holds back what may be the start of
    something.
    """

    def __init__(self, guarded: Guarded) -> None:
        self._guarded = guarded
        self._windows = guarded.windows()
        self._rest = b""

    async def feed(self, data: bytes) -> tuple[bytes, Refusal | None]:
        """What may go out now, or why nothing more may."""
        data = self._rest + data
        end = max(data.rfind(b"\n\n") + 2, data.rfind(b"\r\n\r\n") + 4)
        if end < 4:
            self._rest = data
            return b"", None if len(data) < EVENT_BYTES_MAX else errors.blocked_content(
                "An event is too long to be checked", 502
            )
        self._rest = data[end:]
        return await self._through(data[:end], last=False)

    async def end(self) -> tuple[bytes, Refusal | None]:
        return await self._through(self._rest, last=True)

    async def _through(self, events: bytes, *, last: bool) -> tuple[bytes, Refusal | None]:
        for screening, window in self._windows:
            events, refusal = await window.feed(events) if events else (b"", None)
            if refusal is None and last:
                more, refusal = await window.end()
                events += more
            self._guarded.gather(screening)
            if refusal is not None:
                return b"", refusal
        return events, None


EVENT_BYTES_MAX = 4 * 1024 * 1024


def _is_binary(kind: str) -> bool:
    return bool(kind) and not (
        kind.startswith("text/") or kind.endswith(("json", "xml", "yaml", "javascript", "x-www-form-urlencoded"))
    )


def _read(body: bytes, paths: tuple[str, ...], stage: str) -> tuple[bytes, Any, list[Text]]:
    """The body (joined anew where names stand twice: what was read is what has to be passed on),
    its value, and its texts.
    """
    try:
        value = msgspec.json.decode(body)
        whole = walk(value)
        if whole.strings != count_strings(body):
            body = msgspec.json.encode(value)
    except UNREADABLE:
        if stage == "pre_call":
            raise RefusedError(errors.bad_request("The guardrails of this endpoint need a body in JSON")) from None
        raise RefusedError(errors.blocked_content("The answer says that it is JSON, and is none", 502)) from None
    walked = [whole] if not paths else [walk(found, at) for path in paths for at, found in select(value, steps(path))]
    texts = {text.address: _as_said(text) for each in walked for text in each.texts}
    return body, value, spelled_out(list(texts.values()))


def _as_said(text: Text) -> Text:
    """A field that no format of ours knows is language: the operator says that it is to be read."""
    return msgspec.structs.replace(text, kind="text") if text.kind in ("unknown", "schema") else text


def _put(value: Any, text: Text, new: str) -> bytes:
    if text.kind != "file" or text.address[-1:] == (RENAME,):
        return msgspec.json.encode(new)
    for step in text.address:
        value = value[step]
    return msgspec.json.encode(files.encoded(str(value), new))
