"""Redactions become other texts. Pure."""

from collections.abc import Iterable

from shared.requests import Redaction


def redacted(texts: list[str], redactions: Iterable[Redaction]) -> dict[int, str]:
    """Index -> the text with its spans replaced, of the texts that change.

    Spans that overlap (the same secret, seen from both sides of a cut) are one, with the
    replacement of the first.
    """
    changed: dict[int, str] = {}
    spans: dict[int, list[Redaction]] = {}
    for redaction in redactions:
        spans.setdefault(redaction.text, []).append(redaction)
    for index, found in spans.items():
        changed[index] = apply(texts[index], found)
    return changed


def apply(text: str, redactions: list[Redaction]) -> str:
    pieces, done = [], 0
    for redaction in sorted(redactions, key=lambda r: (r.start, -r.end)):
        if redaction.start >= done:
            pieces += [text[done : redaction.start], redaction.replacement]
        done = max(done, min(redaction.end, len(text)))
    pieces.append(text[done:])
    return "".join(pieces)
