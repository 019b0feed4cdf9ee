"""Secrets by their place in a script, a dialogue or a tool's file, where no sign of assignment
tells them. Pure.
"""

import re
from collections.abc import Iterator

from services.moderation.secrets import structures, values
from services.moderation.secrets.spans import KEYWORD, Found, Span

_BY_ITS_PLACE = re.compile(
    rb":thin:\w{1,64}/(?P<thin>[^\s@\"'/]{4,128})@| on >(?P<acl>[^\s\"'{<(][^\s\"']{5,127})|(?:password|secret) [0-9] (?P<cisco>[^\s\"']{6,128})(?=\s|$)"
    rb"|chpasswd:\s{1,16}list: \|\s{1,16}\w{1,32}:(?P<list>[^\s]{6,128})|(?:(?<=\n)|(?<=> )|^)AUTH \S{1,64} (?P<auth>[^\s\"']{6,128})(?=\s|$)"
    rb"|\nuser \S{1,64} (?P<ftp>\S{6,128})(?=\s|$)"
)
_FTP = re.compile(rb"(?:^|\n)l?(?:open|ftp)[^\n]{0,120}\n$")


def placed(data: bytes, at: int) -> Iterator[Found]:
    """What a format has at this place: Oracle's URLs, Redis' users and AUTH, a router's lines,
    cloud-init, a script for ftp.
    """
    found = _BY_ITS_PLACE.match(data, at)
    if found is None:
        return
    yield None
    place = found.lastgroup
    assert place is not None
    if place == "ftp" and _FTP.search(data, max(0, at - 160), at + 1) is None:
        return
    if values.is_password(found[place].decode("utf-8", "replace"), quoted=True):
        yield Span(found.start(place), found.end(place), KEYWORD)


_PROMPTED = re.compile(
    rb"passw(?:or)?d(?:[ ][\w'@.-]{1,40}){0,2}[: ?]{0,4}[\"']\)?;?[ \t]{0,4}\r?\n?[ \t]{0,16}(?:[a-z_]\w{0,24}\.)?send(?:line)?(?:[ ]--)?[ (]{1,2}[\"'](?P<s>[^\"'\\\s$]{4,128})",
    re.IGNORECASE,
)
"""`expect "password:"`, `send "..."`"""
_CHANGED = re.compile(
    rb"(?:passw(?:or)?d|passphrase|pwd)[ ]from[ ][\"'`]?(?P<s>[^\s\"'`]{6,128})[\"'`]?[ ](?:in)?to[ ][\"'`]?(?P<t>[^\s\"'`]{6,128})",
    re.IGNORECASE,
)


def changed(data: bytes, at: int) -> Iterator[Found]:
    """`the password from ... to ...`"""
    found = _CHANGED.match(data, at)
    for which in ("s", "t") if found is not None else ():
        assert found is not None
        yield None
        text = found[which].decode("utf-8", "replace").rstrip(".,;:!?)")
        if values.is_chosen(text) or values.is_random(text, 8) or values.is_numbered(text):
            yield Span(found.start(which), found.start(which) + len(text.encode()), KEYWORD)


_ASKED_FOR = re.compile(rb"[^\n]{0,160}\n(?P<s>[^\s:=]{8,128})(?=\r?\n|$)")
_ASKS = re.compile(
    rb"(?:^|\n)(?:[^\s$#>%]{1,64}[ ]?)?[$#>%][ ](?:[^\n]{0,160}[ ])?(?:kubectl|oc|vault|aws|az|gcloud|op|pass|bw|doppler)[ ][^\n]{0,160}\Z"
)


def answered(data: bytes, at: int) -> Iterator[Found]:
    """`$ kubectl get secret ... password`, and in the next line what it said."""
    if _ASKS.search(data, max(0, at - 240), at) is None:
        return
    found = _ASKED_FOR.match(data, at)
    if found is not None:
        yield None
        text = found["s"].decode("utf-8", "replace")
        if values.is_chosen(text) or values.is_random(text, 12) or values.is_numbered(text):
            yield Span(found.start("s"), found.end("s"), KEYWORD)


MAKE = ("openssl rand", "pwgen", "wg genkey", "wg genpsk", "htpasswd -n", "apg -", "makepasswd", "pass show", "op read", "op item get", "vault kv get -field", "vault read -field", "get-parameter", "keyring get")  # fmt: skip
"""Commands that make a secret, or know one, and say it."""
_MADE = re.compile(rb"[^\n]{0,120}\n(?P<s>[^\s:]{8,512})(?=\r?\n|$)")


def made(data: bytes, at: int) -> Iterator[Found]:
    """`$ openssl rand -hex 32`, and in the next line what came."""
    found = _MADE.match(data, at)
    if found is not None:
        yield None
        text = found["s"].decode("utf-8", "replace")
        if values.is_random(text, 8) or values.is_chosen(text) or values.is_numbered(text):
            yield Span(found.start("s"), found.end("s"), KEYWORD)


_SQLPLUS = re.compile(rb"(?:-\w{1,12}[ ]){0,3}[\"']?\w{1,64}/[\"']?(?P<s>[^\s@\"'/]{4,128})")
_DRAWN_BY_TERRAFORM = re.compile(rb"[^\x00]{0,800}?\"result\"\s{0,4}:\s{0,4}\"(?P<s>[^\"\n]{6,256})\"")
_TWILIO = re.compile(rb"twilio[^\n(]{0,60}\([^,\n]{1,60},\s{0,4}[\"'](?P<s>[0-9a-f]{32})[\"']", re.IGNORECASE)


RULES: tuple[tuple[tuple[str, ...], structures.Rule], ...] = (
    ((":thin:", " on >", "password ", "secret ", "chpasswd:", "auth ", "\nuser "), placed),
    (("passw",), structures.by(_PROMPTED)),
    (("passw", "passphrase", "pwd"), changed),
    (("passw", "secret", "token"), answered),
    (MAKE, made),
    (("sqlplus ",), structures.by(_SQLPLUS, len("sqlplus "))),
    (("random_password",), structures.by(_DRAWN_BY_TERRAFORM)),
    (("twilio",), structures.by(_TWILIO, judge=lambda text: True)),
)
