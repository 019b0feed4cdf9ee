"""A multipart/form-data body that is here whole: its text fields, and the same form for another
model. Pure.
"""

import re
from collections.abc import Iterator

from services.edge.passthrough.files import MultipartError, delimiter_of

PARTS_MAX = 1_000
TEXT_BYTES_MAX = 256 * 1024
"""Of one field that is no file."""
_NAME = re.compile(
    rb'^content-disposition:\s*form-data\s*;.*?\bname=(?:"((?:[^"\\]|\\.)*)"|([^\s;",=]+))',
    re.IGNORECASE | re.MULTILINE,
)
"""Some clients write it without quotes."""
_FILE = re.compile(rb"^content-disposition:.*\bfilename\*?=", re.IGNORECASE | re.MULTILINE)


class Form:
    """Raises MultipartError for a body that isn't what its content type says, or that names the
    model twice: its reader might take the other.
    """

    def __init__(self, content_type: str, body: bytes) -> None:
        delimiter = delimiter_of(content_type)
        if delimiter is None or not content_type.strip().lower().startswith("multipart/form-data"):
            raise MultipartError("multipart/form-data with a boundary is needed")
        self.fields: dict[str, str] = {}
        """Those that are no files."""
        self._body = body
        self._files: list[tuple[int, int]] = []
        self._model: tuple[int, int] | None = None
        """Where its value stands."""
        at = 2 if body.startswith(b"\r\n") else 0  # an empty preamble
        if not body.startswith(delimiter[2:], at):
            raise MultipartError("it doesn't begin with its boundary")
        at += len(delimiter) - 2
        for _ in range(PARTS_MAX):
            if body[at : at + 2] == b"--":
                return
            start = body.find(b"\r\n\r\n", at)
            end = body.find(delimiter, max(at, start))
            if start < 0 or end < 0 or end < start + 2:
                raise MultipartError("it ends in the middle")
            self._part(body[at:start], start + 4, max(start + 4, end))
            at = end + len(delimiter)
        raise MultipartError("it has too many parts")

    def files(self) -> Iterator[str | None]:
        """Of each file what it says; None where it is no text."""
        for start, end in self._files:
            try:
                text = self._body[start:end].decode("utf-8")
            except UnicodeDecodeError:
                yield None
            else:
                yield None if "\x00" in text else text

    def _part(self, head: bytes, start: int, end: int) -> None:
        found = _NAME.search(head)
        if found is None:
            raise MultipartError("a part has no name")
        name: bytes = found[1] if found[1] is not None else found[2]
        if _FILE.search(head):
            if name.lower() == b"model":
                raise MultipartError("model is a file")
            self._files.append((start, end))
            return
        if end - start > TEXT_BYTES_MAX:
            raise MultipartError("a field that is no file is too long")
        key = name.decode("utf-8", "replace")
        if key.casefold() == "model":
            if key != "model" or self._model is not None:
                raise MultipartError("it names the model in more than one way")
            self._model = start, end
        try:
            text = self._body[start:end].decode("utf-8")
        except UnicodeDecodeError:
            raise MultipartError(f"{key[:40]} is no UTF-8") from None
        self.fields[key] = f"{self.fields[key]}\n{text}" if key in self.fields else text

    def with_model(self, model: str) -> bytes:
        """The same form for another model; ValueError without one."""
        if self._model is None:
            raise ValueError("it names no model")
        start, end = self._model
        return self._body[:start] + model.encode() + self._body[end:]
