"""Files inside a request: `data:` URLs and base64. Those that are text are decoded and read;
pictures and sound are no language.

A picture is what says that it is one *and* is base64 throughout: words behind `data:image/png,` are
words.
"""

import base64
import binascii
import re

from services.edge.formats.base import Address, Text

_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.+-]+(?:=[^;,]*)?)*?)(;base64)?,", re.IGNORECASE)
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=\r\n"
NO_LANGUAGE = ("image/", "audio/", "video/", "font/")
BARE_MIN = 16
"""Shorter strings in a file's place aren't tried as bare base64."""
SURE_MIN = 256
"""From here on what is base64 throughout is a file, also where it is no text."""


def text_of(value: str, at: Address, role: str) -> Text:
    """What a guardrail reads of a string where a URL or a file may stand. Kinds: url, file
    (decoded), data (no language), binary.
    """
    found = _DATA.match(value)
    if found is None:
        if len(value) >= BARE_MIN and _is_base64(value):
            return _decoded(value, value, at, role, "")
        return Text(at, value, role, "url")
    payload = value[found.end() :]
    mime = (found[1] or "text/plain").lower()
    if not found[3]:
        return Text(at, value, role, "url")
    if not _is_base64(payload):
        return Text(at, value, role, "url")
    if mime.startswith(NO_LANGUAGE) and mime != "image/svg+xml":
        return Text(at, "", role, "data")
    return _decoded(value, payload, at, role, mime)


def _is_base64(payload: str) -> bool:
    return payload.isascii() and not payload.encode().translate(None, _BASE64)


def _decoded(value: str, payload: str, at: Address, role: str, mime: str) -> Text:
    plain = payload.translate(_STANDARD)
    try:
        data = base64.b64decode(plain + "=" * (-len(plain) % 4))
        text = data.decode("utf-8")
    except (binascii.Error, ValueError):
        return Text(at, value if not mime else "", role, "url" if not mime else "binary")
    if "\x00" in text or (not mime and not text.isprintable() and not _mostly_printable(text)):
        sure = mime or len(value) >= SURE_MIN
        return Text(at, "", role, "binary") if sure else Text(at, value, role, "url")
    return Text(at, text, role, "file")


_STANDARD = str.maketrans({"-": "+", "_": "/", "\r": None, "\n": None, "=": None})


def _mostly_printable(text: str) -> bool:
    sample = text[:4096]
    return sum(c.isprintable() or c.isspace() for c in sample) > 0.95 * len(sample)


def encoded(original: str, text: str) -> str:
    """`text` in the place of a file that was `original`."""
    found = _DATA.match(original)
    head = original[: found.end()] if found is not None else ""
    return head + base64.b64encode(text.encode()).decode()
