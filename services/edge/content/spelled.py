"""Texts that a format lets be spelled in several ways, in one: JSON in a string (a tool call's
arguments), and URLs. Pure.

Both formats say that the spellings are the same (RFC 8259 § 7, RFC 3986 § 6.2.2.2), so what is put
in a redacted text's place means what was sent. Not in a stream's events, where an escape may be
cut.
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
