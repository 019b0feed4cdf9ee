"""A path that isn't written the usual way, in the usual one: so that a client's habit of slashes or
escapes costs it nothing. Pure.

What comes out is the only path anybody looks at from then on: who checks it and who acts on it
can't see two.
"""

import re
from urllib.parse import quote

_ESCAPED_PLAIN = re.compile("%(?:2[dD]|2[eE]|3[0-9]|4[1-9a-fA-F]|5[0-9aA]|5[fF]|6[1-9a-fA-F]|7[0-9aAeE])")
"""Unreserved characters (RFC 3986 §2.3): escaped or not, they are the same."""
_SLASHES = re.compile("/{2,}")
PATH_CHARACTERS_MAX = 2_048


def usual(path: str) -> str | None:
    """The same path without needless escapes, doubled slashes, and a slash at its end; None: it has
    no usual form (dot segments).
    """
    if len(path) > PATH_CHARACTERS_MAX:
        return None
    plain = _ESCAPED_PLAIN.sub(lambda found: chr(int(found[0][1:], 16)), path)
    plain = _SLASHES.sub("/", plain)
    if len(plain) > 1:
        plain = plain.removesuffix("/")
    if any(segment in (".", "..") for segment in plain.split("/")):
        return None
    return plain


def rewritten(path: str) -> str | None:
    """A decoded path as it is to be sent on, escaped where it must be: what was checked is what
    goes on.

    None: it could be read in two ways (dot segments, a slash inside a segment, bytes that are no
    UTF-8).
    """
    segments = path.split("/")
    if any(is_ambiguous(segment) or "\ufffd" in segment for segment in segments):
        return None
    return "/".join(map(escaped, segments))


def is_ambiguous(segment: str) -> bool:
    """Whether a decoded segment could be read in two ways: a dot segment, or one that spells out
    the escape of a slash.
    """
    return segment in (".", "..") or "%2F" in segment.upper()


def escaped(segment: str) -> str:
    """A decoded segment in the one way to write it."""
    return quote(segment, safe=_SAFE_IN_SEGMENTS)


_SAFE_IN_SEGMENTS = "-._~!$&'()*+,;=:@"
