"""Secrets of several lines, or of several words: private keys, phrases that restore a wallet; and
where one begins that isn't over. Pure.
"""

import base64
import re
from collections.abc import Iterator

from services.moderation.secrets.spans import Found, Span

_BEGIN = re.compile(
    rb"-{4,5} ?BEGIN (?:(?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?|OpenVPN Static key V1) ?-{4,5}(?P<body>(?:[A-Za-z0-9+/=\s]|\\{1,4}[nrt\"']|(?:Proc-Type|DEK-Info|Version|Comment|Hash)"
    rb":[^\n\\]{0,200}|[:,.()]|-(?!---)|[>#*|](?=[ \t])|<br ?/?>|[\"'][ \t]{0,4}[+\\,.]?[ \t]{0,4}\r?\n[+\-> \t]{0,40}(?:[fbruFBRU]{0,2}[\"']|\[))*)"
    rb"(?P<end>-{4,5} ?END [A-Za-z0-9 ]{1,60}-{4,5})?"
)
"""Lines may begin as in a quoted mail, a comment, a diff, a list of strings, or stand in one with
their breaks escaped.
"""
_KEY_WORD = re.compile(rb"(?<!\\)[+/=]*[A-Za-z0-9][A-Za-z0-9+/=]*")
_LINE_MIN = 16
_BODY_MIN = 40


def private_key(data: bytes, at: int) -> Iterator[Found]:
    """The block; without its end, as far as it goes. A header alone, as in code, is no key."""
    found = _BEGIN.match(data, at, at + 65_536)
    if found is None:
        return
    length, _ = _lines(found["body"])
    body = re.sub(rb"\\[nrt]|[^A-Za-z0-9+/]", b"", found["body"][:length])
    if len(body) < _BODY_MIN or len(set(body)) < 10:
        return
    yield Span(at, found.end() if found["end"] else found.start("body") + length, "Private Key")


def _lines(body: bytes) -> tuple[int, bool]:
    """Up to where the key's base64 goes after its header, and whether anything else follows."""
    end, short = 0, False
    for word in _KEY_WORD.finditer(body):
        if len(word[0]) >= _LINE_MIN and not short:
            end = word.end()
        elif end and not (word[0].isdigit() and len(word[0]) < 5):  # lines may be numbered
            if short or not _ends_a_key(word[0]):
                return end, word.end() < len(body)
            end, short = word.end(), True  # the last line
    return end, False


def _ends_a_key(word: bytes) -> bool:
    return b"=" in word or any(48 <= c < 58 for c in word) or not (word.islower() or word.istitle() or word.isupper())


KEY_BEGINNINGS = (
    "ibaakcaq", "ibaakbgq", "ibaajb", "ibadanbgkqhkig9w0baqefaas", "mhccaqee", "migkagebb", "mihcagebb", "mighageambmgbyqgsm49", "mig2ageambagbyqgsm49",
    "miHuAgEAMBAGByqGSM49".lower(), "mc4caqawbqydk2v",
)  # fmt: skip
"""What DER's numbers are in base64 where a private key begins (RFC 8017, 5915, 5958): in small
letters, the length before it left out where it differs.
"""
_BARE_KEY = re.compile(
    rb"(?P<head>MII[A-Za-z0-9+/]{3}(?:IBAAK[BC][A-Za-z]Q|IBAAJB|IBADANBgkqhkiG9w0BAQEFAAS)|MHcCAQEE|MIGkAgEBB|MIHcAgEBB|MI(?:GH|G2|Hu)AgEAMB|MC4CAQAwBQYDK2V)"
    rb"[A-Za-z0-9+/]{16,65536}(?:(?:\\[rn]|\s){1,24}[A-Za-z0-9+/]{16,}){0,400}(?:(?:\\[rn]|\s){1,24}[A-Za-z0-9+/]{1,76}(?==))?={0,2}"
)


def bare_key(data: bytes, at: int) -> Iterator[Found]:
    """A key's base64 without the lines around it, as in XML, settings and databases."""
    end = min(len(data), at + 65_536)
    found = _BARE_KEY.match(data, max(0, at - 6), end) or _BARE_KEY.match(
        data, at, end
    )  # no search: it reads to the end
    if found is not None:
        yield None
        yield Span(found.start(), found.end(), "Private Key")


_PUTTY = re.compile(rb"Private-Lines: \d{1,4}\s{1,4}(?P<s>(?:[A-Za-z0-9+/=]{1,80}\s{0,2}){1,200})")


def putty_key(data: bytes, at: int) -> Iterator[Found]:
    found = _PUTTY.match(data, at)
    if found is not None:
        yield Span(found.start("s"), found.start("s") + len(found["s"].rstrip()), "Private Key")


_PHRASE = re.compile(
    rb"(?:mnemonic|(?:seed|recovery|backup|secret)[ _-]{0,1}(?:phrase|words))[\"']?(?:[ ]\w+){0,4}?\s{0,2}(?:[:=]|is)\s{0,3}[\"'`]?"
    rb"(?P<s>(?:[a-z]{3,8}[ ,\n]{1,3}){11,23}[a-z]{3,8})\b",
    re.IGNORECASE,
)


def seed_phrase(data: bytes, at: int) -> Iterator[Found]:
    found = _PHRASE.match(data, at)
    if found is not None:
        yield Span(found.start("s"), found.end("s"), "Seed Phrase")


_ENCODED_KEY = re.compile(
    rb"LS0tLS1CRUdJTi[A-Za-z0-9+/]{1,65536}(?:(?:\\[rn]|\s){1,12}[A-Za-z0-9+/]{16,}){0,400}={0,2}"
)
_ENCODED_HEADER_MAX = 160
"""As long as `-----BEGIN ENCRYPTED PRIVATE KEY-----` can be in base64, in lines."""


def encoded_key(data: bytes, at: int) -> Iterator[Found]:
    """A private key's PEM in base64, in one line or many: Kubernetes' secrets, `base64 id_rsa`."""
    if b"PRIVATE KEY" not in _decoded(data[at : at + _ENCODED_HEADER_MAX]):
        return
    yield None
    found = _ENCODED_KEY.match(data, at, at + 65_536)
    if found is not None and b"PRIVATE KEY" in _decoded(found[0]):
        yield Span(at, found.end(), "Private Key")


def _decoded(text: bytes) -> bytes:
    plain = re.sub(rb"\\[rn]|[^A-Za-z0-9+/]", b"", text)
    return base64.b64decode(plain[: len(plain) // 4 * 4])


_OPENERS = re.compile(
    r"-{4,5} ?BEGIN|Private-Lines:|mnemonic|(?:seed|recovery|backup|secret)[ _-]?(?:phrase|words)", re.IGNORECASE
)
_PHRASE_MAX = 400


def open_block(text: str) -> int | None:
    """Where something of several words begins that isn't over at the end of `text`."""
    for opener in _OPENERS.finditer(text):
        at = opener.start()
        rest = text[at:].encode("utf-8", "surrogatepass")
        if opener[0].startswith("----"):
            found = _BEGIN.match(rest)
            if found is None and b"\n" not in rest and len(rest) < 100 and rest.count(b"----") < 2:
                return at
            if found is not None and not found["end"] and len(rest) - found.end() < 64 and not _lines(found["body"])[1]:
                return at
        elif opener[0].startswith("Private"):
            found = _PUTTY.match(rest)
            if len(rest) < 32 or (found is not None and found.end() >= len(rest) - 80):
                return at
        elif len(rest) < _PHRASE_MAX:
            return at
    return None
