"""Amazon's binary event stream (vnd.amazon.eventstream), decoded from bytes cut anywhere.

A message: total length, length of the headers, CRC of both (12 bytes, big-endian); headers;
payload; CRC of all before it. https://smithy.io/2.0/aws/amazon-eventstream.html
"""

import struct
import zlib
from typing import Final

from services.edge.providers.base import UnreadableAnswerError

MESSAGE_BYTES_MAX: Final = 24 * 1024 * 1024
"""The specification's limit is 24 MB."""
_PRELUDE = struct.Struct(">III")
_U16 = struct.Struct(">H")
_CRC = struct.Struct(">I")
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Header value type -> bytes. 6 (bytes) and 7 (string) say their length in two bytes."""

Message = tuple[dict[str, str], bytes]
"""Headers that are strings, and the payload."""


class Decoder:
    def __init__(self) -> None:
        self._rest = b""

    @property
    def empty(self) -> bool:
        """No half of a message is left."""
        return not self._rest

    def feed(self, data: bytes) -> list[Message]:
        """Raises UnreadableAnswerError for a wrong checksum or length: bytes were lost, and what
        follows can't be trusted.
        """
        if self._rest:
            data = self._rest + data
        found: list[Message] = []
        at, end = 0, len(data)
        while end - at >= 12:
            total, headers, crc = _PRELUDE.unpack_from(data, at)
            if zlib.crc32(data[at : at + 8]) != crc:
                raise UnreadableAnswerError("an event of the stream has a wrong checksum")
            if not 16 + headers <= total <= MESSAGE_BYTES_MAX:
                raise UnreadableAnswerError("an event of the stream has an impossible length")
            if end - at < total:
                break
            last = at + total - 4
            if zlib.crc32(memoryview(data)[at:last]) != _CRC.unpack_from(data, last)[0]:
                raise UnreadableAnswerError("an event of the stream has a wrong checksum")
            found.append((_headers(data[at + 12 : at + 12 + headers]), data[at + 12 + headers : last]))
            at += total
        self._rest = data[at:] if at else data
        return found


def _headers(data: bytes) -> dict[str, str]:
    found = {}
    at = 0
    try:
        while at < len(data):
            name_end = at + 1 + data[at]
            name, kind = data[at + 1 : name_end].decode(), data[name_end]
            at = name_end + 1
            if kind in _FIXED:
                at += _FIXED[kind]
                continue
            if kind not in (6, 7):
                raise UnreadableAnswerError("an event of the stream has a header of an unknown type")
            start = at + 2
            at = start + _U16.unpack_from(data, at)[0]
            if kind == 7:
                found[name] = data[start:at].decode()
    except (IndexError, struct.error, UnicodeDecodeError):
        raise UnreadableAnswerError("an event of the stream has an unreadable header") from None
    return found
