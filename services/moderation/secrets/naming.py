"""Where a name begins, how strongly it says secret, and what says that it is another's. Pure."""

import re
import string

from services.moderation.secrets import values
from services.moderation.secrets.words import NO_PASS, NO_SECRET, NO_SECRET_BEFORE, STRONG_KEYS, VENDORS

_NAME_BYTES = bytes(c for c in range(128) if chr(c).isalnum()) + b"_.$-"
_WORDS_BEFORE = tuple(
    b"api access secret private client auth ssh encryption account signing bearer wifi wi-fi wlan wpa network license licence product recovery backup".split()
)
_SPLIT = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
DRAWN_MIN = 16
"""Of a name that looks drawn itself."""


def begins(data: bytes, start: int) -> int:
    low = max(0, start - 64)
    head = data[low:start]
    begin = low + len(head.rstrip(_NAME_BYTES))
    if data[begin - 1 : begin] == b" ":
        word = data[max(0, begin - 14) : begin - 1]
        word = word[len(word.rstrip(_NAME_BYTES)) :]
        if word.lower() in _WORDS_BEFORE:
            return begin - 1 - len(word)
    return begin


_known: dict[int, str] = {}
"""Strengths by the hash of a name, not by the name: it may hold what was scanned, and texts use the
same few names over and over. The process's own hash, of 64 bits.
"""
KNOWN_MAX = 4_096


def strength(head: bytes, literal: str, rest: bytes) -> str:
    """password, token, weak (only what is random by itself), vendor, or "": no secret.

    Args:
        head: the name up to and with the literal.
        rest: what is left of it.
    """
    key = hash((head, literal, rest))
    known = _known.get(key)
    if known is None:
        if len(_known) >= KNOWN_MAX:
            _known.clear()
        known = _known[key] = _strength(head, literal, rest)
    return known


def _strength(head: bytes, literal: str, rest: bytes) -> str:
    tail = re.sub(r"[^A-Za-z0-9_-].*", "", rest.decode("ascii", "replace"))
    name = head.decode("ascii", "replace") + tail
    run = name.rpartition(".")[2]
    if len(run) >= DRAWN_MIN and (values.is_random(run, DRAWN_MIN) or values.is_drawn(run, DRAWN_MIN)):
        return ""  # a value, which happens to spell it
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    pieces = [piece.lower() for piece in _SPLIT.findall(name)]
    after = [piece.lower() for piece in _SPLIT.findall(tail)]
    before = pieces[: len(pieces) - len(after)]
    if any(piece in NO_SECRET for piece in after):
        return ""
    if (
        before
        and any(piece in NO_SECRET_BEFORE for piece in before[:-1] or before)
        and literal in ("key", "token", "pass")
    ):
        return ""
    if (
        "passw" in plain
        or "pasword" in plain
        or "pwd" in plain
        or "pswd" in plain
        or "passphrase" in plain
        or "passcode" in plain
    ):
        return "password"
    if literal == "pass":
        named = pieces[-1:] == ["pass"] or (plain.endswith("pass") and plain not in NO_PASS)
        return "password" if named and not tail else ""
    if literal in ("pw", "psw", "mdp", "psk"):
        before_it = name[: len(name) - len(tail) - len(literal)][-1:]
        return "password" if pieces[-1:] == [literal] and not before_it.isalnum() else ""
    if "secret" in plain or any(key in plain for key in STRONG_KEYS):
        return "token"
    if literal == "token":
        return "token" if not tail or not tail[0].isalpha() or tail in ("s", "S") else ""
    if literal in ("credential", "connectionstring", "connection_string", "conn_str"):
        return "token"
    if literal == "auth":
        return (
            "token"
            if pieces[-1] in ("auth", "authorization", "authtoken", "authtok") or plain.endswith("authorization")
            else ""
        )
    if literal == "key":
        if tail or not (name.isupper() or "key" in pieces[-1:] or plain.endswith("key")):
            return ""
        return "token" if len(plain) > 6 and any(vendor in plain for vendor in VENDORS) else "weak"
    if literal in _WEAK:
        return "weak"
    if literal == "totp":
        return "" if tail else "token"
    if literal in ("nonce", "login", "pin", "seed", "mnemonic"):
        return ""
    return "vendor"


_WEAK = frozenset({"bearer", "salt", "signature", "sig=", "session", "sessionid", "sessid", "connect.sid", "cookie"})
_OTHER_THINGS = frozenset(
    b"id ids hash hashes hashed md sha digest checksum fingerprint url uri path file version commit build case order ticket request trace booking reference number digits "
    b"characters length regex pattern example policy issue model image public pub sum etag nonce cursor page integrity publickey serial device uuid ssid bucket hint salt "
    b"thumbprint".split()
)
_PIECES = re.compile(rb"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_OTHERS_BEFORE = frozenset(word.encode() for word in NO_SECRET_BEFORE)
_LETTERS = string.ascii_letters.encode()


def is_of_something_else(before: bytes, start: int) -> bool:
    """`the page token`: the word before a name that begins at `start`."""
    head = before[max(0, start - 24) : start]
    word = head[:-1].lower()
    return head.endswith(b" ") and word[len(word.rstrip(_LETTERS)) :] in _OTHERS_BEFORE


def is_of_others(between: bytes) -> bool:
    """`password hash for Ann: ...`, `token with the id ...`: the first word, or one of the last."""
    said = _PIECES.findall(between.lower() if between.isupper() else between)
    return any(word.lower() in _OTHER_THINGS for word in (*said[:1], *said[-2:]))
