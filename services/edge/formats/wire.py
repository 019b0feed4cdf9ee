"""JSON that others wrote, and OpenAI's words in it: what is read of an answer or of a stream's
chunk. Pure.

The rest of an answer is passed on unread. What isn't strict JSON (NaN, a lone surrogate, a BOM in
front) but says what it costs is read all the same: whoever wrote it was paid for it.
"""

import json
import math
import re
from typing import Any, Final

import msgspec

from services.edge.usage.openai import Said
from shared.decoding import UNREADABLE

BOM: Final = b"\xef\xbb\xbf"
LENIENT_BYTES_MAX: Final = 1024 * 1024
"""Of JSON that is decoded again by a slower, more patient reader."""
NULL: Final = msgspec.Raw(b"null")


def decode_leniently(raw: bytes) -> Any:
    """As Python's reader has it: NaN and lone surrogates (which become U+FFFD) are taken. Raises
    msgspec.DecodeError.
    """
    if len(raw) > LENIENT_BYTES_MAX:
        raise msgspec.DecodeError("too large to be read again")
    try:
        return json.loads(without_lone_surrogates(raw).decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None


def without_lone_surrogates(raw: bytes) -> bytes:
    """JSON's `\\udXXX` escapes that are no half of a pair become U+FFFD; as long as before, but for
    those.

    A run without any is passed over by the regular expression alone: text is full of other escapes.
    As it was where there are too many.
    """
    out: list[bytes] = []
    done = 0
    while (at := _sound_run_end(raw, done)) < len(raw):
        if len(out) >= 2 * LONE_SURROGATES_MAX or not _SURROGATE.match(raw, at):
            return raw
        out += [raw[done:at], b"\\ufffd"]
        done = at + 6
    return raw if not out else b"".join((*out, raw[done:]))


LONE_SURROGATES_MAX: Final = 20_000
_SOUND: Final = re.compile(rb"(?:[^\\]++|\\(?:[^u]|u(?:[^dD]|[dD](?:[0-7]|[89abAB]..\\u[dD][c-fC-F]))))*+", re.DOTALL)
"""Everything but a lone surrogate: other characters, other escapes, pairs. Possessive: it never
goes back.
"""
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def _sound_run_end(raw: bytes, start: int) -> int:
    found = _SOUND.match(raw, start)
    return start if found is None else found.end()


class AnswerHead(Said, kw_only=True):
    """What we read of an answer or of a stream's chunk; the rest is passed on unread. Its usage is
    read by `usage.openai.read`.
    """

    id: str | None = None
    model: str | None = None
    error: msgspec.Raw = NULL
    data: msgspec.Raw = NULL
    results: msgspec.Raw = NULL
    """Of moderations."""

    def failed(self) -> bool:
        """It says that it is none: in `error`, or in every choice."""
        return bytes(self.error) not in _NO_ERROR or self.choice_error() is not None

    def choice_error(self) -> bytes | None:
        """Of an answer whose every choice is an error (OpenRouter's), the first one's, `null` where
        it says no more; None: it is none.
        """
        raw = bytes(self.choices)
        if b'"error"' not in raw:
            return None
        try:
            choices = _choices(raw)
        except UNREADABLE:
            return None
        failed = [bytes(each.error) for each in choices if each.failed()]
        return failed[0] if failed and len(failed) == len(choices) else None


_NO_ERROR = (b"null", b"false", b'""', b"{}", b"[]", b"0")


class _Choice(msgspec.Struct):
    error: msgspec.Raw = NULL
    finish_reason: msgspec.Raw = NULL

    def failed(self) -> bool:
        return bytes(self.finish_reason) == b'"error"' or bytes(self.error) not in _NO_ERROR


_choices = msgspec.json.Decoder(list[_Choice]).decode


class _OddHead(AnswerHead, kw_only=True):
    id: Any = None
    model: Any = None


_answer_head = msgspec.json.Decoder(AnswerHead).decode
_odd_head = msgspec.json.Decoder(_OddHead).decode


def answer_head(body: bytes) -> AnswerHead:
    """A field that isn't what it should be is none; the others count. Raises UNREADABLE for what is
    no JSON object.
    """
    try:
        return _answer_head(body)
    except msgspec.ValidationError:
        pass
    except msgspec.DecodeError:
        found = decode_leniently(body)
        if not isinstance(found, dict):
            raise
        body = msgspec.json.encode({name: _plain(name, found[name]) for name in _READ if name in found})
    odd = _odd_head(body)
    odd.id, odd.model = (value if isinstance(value, str) else None for value in (odd.id, odd.model))
    return odd


_READ = AnswerHead.__struct_fields__


def _plain(name: str, value: Any) -> Any:
    """What strict JSON can say of it: of lists only whether there is anything in them, of numbers
    those that are some.
    """
    if name in ("choices", "data"):
        return [{}] if value else []
    if isinstance(value, dict):
        return {key: _plain("", item) for key, item in value.items()}
    return value if not isinstance(value, float) or math.isfinite(value) else None
