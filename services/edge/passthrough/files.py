"""The files of a multipart/form-data body while it flows by: their names and sizes, without keeping
them. Pure.
"""

import re
from collections.abc import Callable
from urllib.parse import unquote

from shared.errors import Refusal

HEAD_BYTES_MAX = 16_384
_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_DISPOSITION = re.compile(rb"^content-disposition:(.*)$", re.IGNORECASE | re.MULTILINE)
_NAME = re.compile(r'filename="((?:[^"\\]|\\.)*)"|filename=([^\s;"]+)', re.IGNORECASE)
_EXTENDED = re.compile(r"filename\*=[^']*'[^']*'([^\s;]+)", re.IGNORECASE)


class MultipartError(Exception):
    """The body isn't what its content type says."""


def delimiter_of(content_type: str) -> bytes | None:
    """What stands before each part (before the first without its line break); None: no boundary is
    named.
    """
    found = _BOUNDARY.search(content_type)
    return None if found is None else b"\r\n--" + (found[1] or found[2]).encode("latin-1", "replace")


class Files:
    """
    Args:
        check: a file's name and its size so far -> why it may not be; asked when the name is known,
            and as it grows.

    `feed` raises MultipartError.
    """

    def __init__(self, content_type: str, check: Callable[[str, int], Refusal | None]) -> None:
        delimiter = delimiter_of(content_type)
        if delimiter is None:
            raise MultipartError("no boundary")
        self._delimiter = delimiter
        self._check = check
        self._rest = b"\r\n"
        """Not looked at yet; the first delimiter has no line before it."""
        self._in_head = False
        self._name: str | None = None
        """Of the file that flows by; None: it is no file."""
        self._size = 0

    def feed(self, data: bytes) -> Refusal | None:
        data = self._rest + data
        while True:
            if self._in_head:
                head, end, rest = data.partition(b"\r\n\r\n")
                if not end:
                    if len(data) > HEAD_BYTES_MAX:
                        raise MultipartError("a part's head is too long")
                    self._rest = data
                    return None
                self._in_head, self._size, self._name = False, 0, _file_name(head)
                data = b"\r\n" + rest if rest.startswith(self._delimiter[2:]) else rest  # an empty part
                refusal = self._grown(0)
            else:
                at = data.find(self._delimiter)
                if at < 0:
                    keep = min(len(data), len(self._delimiter) - 1)
                    self._rest = data[len(data) - keep :]
                    return self._grown(len(data) - keep)
                refusal = self._grown(at)
                self._in_head, self._name = True, None
                data = data[at + len(self._delimiter) :]
                if data.startswith(b"--"):
                    self._in_head = False  # the last one: what follows is nobody's
            if refusal is not None:
                return refusal

    def _grown(self, size_bytes: int) -> Refusal | None:
        self._size += size_bytes
        return None if self._name is None else self._check(self._name, self._size)


def _file_name(head: bytes) -> str | None:
    found = _DISPOSITION.search(head)
    if found is None:
        return None
    text = found[1].decode("utf-8", "replace")
    extended = _EXTENDED.search(text)
    if extended is not None:
        return unquote(extended[1])
    plain = _NAME.search(text)
    return None if plain is None else (plain[1] if plain[1] is not None else plain[2])
