"""Texts that a format lets be spelled in several ways, in one: JSON in a string (a tool call's
arguments), and URLs. Pure.

Both formats say that the spellings are the same (RFC 8259 § 7, RFC 3986 § 6.2.2.2), so what is put
in a redacted text's place means what was sent. In a stream's events an escape may be cut: its
beginning waits for the rest.
"""

import json
import re

import msgspec

from services.edge.formats.base import Text

_ESCAPED = re.compile(r"\\(?:u[0-9a-fA-F]{4}(?:\\u[0-9a-fA-F]{4})*|.)")
"""One escape, or several characters' in a row; an escaped backslash is one, too, and doesn't begin
the next.
"""
_NEEDED = re.compile('["\\\\\x00-\x1f\x7f-\x9f\ud800-\udfff]')
_PERCENT = re.compile(r"%(?:2[dDeE]|3\d|[46][1-9a-fA-F]|[57][\daA]|5[fF]|7[eE])")
"""Of letters, digits and `-._~`."""


_CUT = re.compile(
    r"(?:\A|[^\\])(?:\\\\)*(?P<cut>\\(?:u[0-9a-fA-F]{0,3})?|\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?)\Z"
)
"""The beginning of an escape at a text's end; the first half of a character that has two, too."""
_CUT_MAX = 11
_CUT_PERCENT = re.compile(r"(?P<cut>%[0-9a-fA-F]?)\Z")


def spelled_so_far(said: str, kind: str) -> tuple[str, str]:
    """(without escapes that its format doesn't need, the beginning of an escape at its end), of a
    text that goes on. It begins outside an escape.
    """
    if kind == "arguments" and "\\" in said:
        found = _CUT.search(said) if "\\" in said[-_CUT_MAX:] else None
    elif kind == "url" and "%" in said:
        found = _CUT_PERCENT.search(said)
    else:
        return said, ""
    end = len(said) if found is None else found.start("cut")
    return _spelled(Text((), said[:end], kind=kind)).text, said[end:]


def spelled_out(texts: list[Text]) -> list[Text]:
    """The same texts without escapes that their format doesn't need."""
    return [_spelled(text) if text.kind in ("arguments", "url") else text for text in texts]


def _spelled(text: Text) -> Text:
    said = text.text
    if text.kind == "url":
        plain = _PERCENT.sub(lambda found: chr(int(found[0][1:], 16)), said) if "%" in said else said
    else:
        plain = _ESCAPED.sub(_unescaped, said) if "\\u" in said or "\\/" in said else said
    return text if plain == said else msgspec.structs.replace(text, text=plain)


def _unescaped(found: re.Match[str]) -> str:
    if found[0] == "\\/":
        return "/"
    if len(found[0]) == 2:  # \n; or \u of no number: a path of Windows, where a model forgot that this is JSON
        return found[0]
    return _NEEDED.sub(
        lambda c: json.dumps(c[0])[1:-1] if c[0] in '"\\' else f"\\u{ord(c[0]):04x}", json.loads(f'"{found[0]}"')
    )
