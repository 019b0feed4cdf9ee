"""What makes a secret of the drawn value beside it, without a name that says so: a flag, a login, a
call, a question, a comment. Pure.
"""

import re

from services.moderation.secrets import naming

BEFORE_MAX = 160
"""Bytes before a value that are looked at; less than a stream's screening still sees."""
_CALLED = re.compile(
    rb"(?:auth|log_?in|logon|connect|credential|jwt\.sign|[._ ]sign|crypt|cipher|hmac|btoa|b64encode|encodetostring|\bpdo|mysqli|wifi\.begin|pg_p?connect|session|"
    rb"cookieparser|secret|token|passwd|password|setenv|passphrase)\w*[ ]?\Z"
)
"""In small letters: what takes a secret."""
CALLED_MAX = 48
_NAME_OF_IT = re.compile(rb"([\w.\-]{1,48})[\"']?[ ]{0,4}[:=][ ]{0,4}[\"'`]\Z")
_IN_QUOTES = re.compile(rb"\\{0,3}[\"'`][\w.@%+\-]{0,48}:?\Z")
_BY_FLAG = re.compile(
    rb"[ ](?:/(?:rp|p|pw|pwd|pass|password)[: ]|-[pPkawW]|-[uUa][ =]?[\"']?[\w.@\-]{1,64}[:%,])[ =]?[\"']?\Z"
)
_BY_LOGIN = re.compile(
    rb"(?:(?:\n|\A|echo[ ])user[ ]\S{1,64}[ ]|\blogin(?:[ ]\S{1,64}[ ]|=[\w.@\-]{1,64}:)|[ ]:[ ](?:psk|eap|xauth)[ ]\"|\bconfig[ ][^\n]{0,80}[ ]\w{1,32}:|\b\bcommunity(?:[ ]string)?(?:[ ]is)?[ :]{1,2}|"
    rb"\b(?:isakmp|tacacs-server|radius-server)[ ]key[ ](?:\d[ ])?|(?<![\w-])(?:root|admin|administrator)\b[^\n:=]{0,40}[:=][ \t]{0,4}[\"'`]?|[\s(\"'`](?:root|admin|administrator|user)/|"
    rb"http-basic\S{0,64}[ ]\S{1,64}[ ]|\bidentify[ ]|identified[ ]by[ ]|[?&]code=)\Z",
    re.IGNORECASE,
)
_LOGINS = (
    b"user ",
    b"login",
    b" : ",
    b"config ",
    b"community",
    b" key ",
    b"root",
    b"admin",
    b"http-basic",
    b"identif",
    b"code=",
)
_PAIRED = re.compile(
    rb"(?:[\w.@\-]{2,48}[\"'`]?[ ]/[ ]|[\w.+\-]{1,64}@[\w\-]{1,64}(?:\.[\w\-]{1,64}){1,6}[:|])[\"'`]?\Z"
)
"""`ann / ...`, `ann@example.org:...`"""
PAIR_MAX = 100
_COMMENTED = re.compile(
    rb"[\"'`][)\]},;]{0,4}[ \t]{1,16}(?://|#|--|/\*)[ ]?[^\n]{0,40}?\b(?i:token|secret|passw|pwd|api[ _-]?key|credential)"
)
_PIPED = re.compile(rb"(?:echo|printf)[ ](?:-n[ ]|[\"']?%s[\"']?[ ])?[\"']?\Z")
_INTO = re.compile(
    rb"[\"']?[ ]{0,2}>{1,2}[ ]{0,2}[^\s|;&]{0,80}(?:key|token|secret|passw|cred)|[\"']?[ ]{0,2}\|[ ]{0,2}+(?!base64 -(?:d|-d|D)|openssl (?:base64|dgst)|xxd|jq|sha\d|md5|grep|sed|awk|tr |cut |wc|xargs)"
)
"""What decodes, looks into or counts what comes is given no secret by that."""
_OBJECT = re.compile(
    rb"(?:\b|_)(?:name|key|type|object|kind|label|title|setting|option)[\"']?\s{0,4}[:=]\s{0,4}[\"'](?P<said>[^\"'\n]{2,64})[\"']"
)
_IN_VALUE = re.compile(
    rb"(?:\b|_)(?:value|v|data|text|content|val|default|defaultValue|initial)[\"']?\s{0,4}[:=]\s{0,4}[\"']\Z"
)
_SAYS_SECRET = re.compile(
    rb"(?i)passw|pwd|passphrase|secret|token|api[_ -]?key|private[_ -]?key|access[_ -]?key|credential|authorization"
)
OBJECT_MAX = 240
_BOUNDS = (b"{", b"}", b"<", b">", b";")
_TO_CHARACTERS = re.compile(rb"[\"']\s{0,2}\.(?:toCharArray\(|to_?[sS]ecure)")
"""Java's passwords are arrays of characters."""


def by_place(before: bytes, lower: bytes) -> bool:
    """`lower`: `before` in small letters."""
    sign = before[-3:].rstrip(b" \"'`")[-1:]
    return (
        ((b" -" in before[-PAIR_MAX:] or b" /" in before[-PAIR_MAX:]) and _BY_FLAG.search(before) is not None)
        or (
            (b" / " in before[-4:] if sign == b"/" else sign in (b":", b"|") and b"@" in before[-PAIR_MAX:])
            and _PAIRED.search(before[-PAIR_MAX:]) is not None
        )
        or (any(login in lower for login in _LOGINS) and _BY_LOGIN.search(before) is not None)
        or (
            b"(" in before
            and _IN_QUOTES.search(before) is not None
            and _is_given_to(lower)
            and not ((name := _NAME_OF_IT.search(before)) is not None and naming.is_of_others(name[1]))
        )
    )


def _is_given_to(lower: bytes) -> bool:
    """Whether the call that is open at the end of its line is of what takes a secret."""
    at, closed = len(lower), 0
    line = lower.rfind(b"\n") + 1
    while (at := max(lower.rfind(b"(", line, at), lower.rfind(b")", line, at))) >= 0:
        if lower[at] == _CLOSES:
            closed += 1
        elif closed:
            closed -= 1
        elif _CONVERTS.search(lower, max(line, at - CALLED_MAX), at) is None:
            return _CALLED.search(lower, max(line, at - CALLED_MAX), at) is not None
    return False


_CLOSES = ord(")")
_CONVERTS = re.compile(rb"(?:\[\]byte|\b(?:bytes?|str|string|buffer\.from|asciiencode|encode))\Z")
"""A call that gives its text on in another type."""


def by_what_follows(data: bytes, start: int, end: int, before: bytes) -> bool:
    return (
        _TO_CHARACTERS.match(data, end) is not None
        or (_INTO.match(data, end) is not None and _PIPED.search(before) is not None)
        or _COMMENTED.match(data, end) is not None
        or _in_object(data, start, end)
    )


def told_above(data: bytes, start: int) -> bool:
    """Whether the last line above that holds anything ends with a colon, and says secret."""
    above = data[max(0, start - BEFORE_MAX) : start].rstrip()
    line = above[above.rfind(b"\n") + 1 :]
    return line.endswith(b":") and _SAYS_SECRET.search(line) is not None and not naming.is_of_others(line)


_SPEAKS = re.compile(rb"[ \t<\[]{0,2}[A-Za-z][\w .@\-]{0,32}(?:[>\]]?:|>)[ ](?:[\w',]{1,12}[ ]){0,5}[\"'`]?\Z")
_ASKS_FOR_IT = re.compile(
    rb"(?i)(?:passw|passphrase|\bpwd?\b|secret|token|\bkey\b|credential|\blogin\b)(?:[^\n]{0,60}[?.!:]|(?<=passw)ord|(?<=pass)code|phrase)\s{0,4}\Z"
)


def is_answer(data: bytes, start: int) -> bool:
    """`Agent: Which key do you use?`, and in the next line `Ann: ...`, or the value alone."""
    low = max(0, start - BEFORE_MAX)
    above, _, line = data[low:start].rpartition(b"\n")
    return _SPEAKS.fullmatch(line) is not None and _ASKS_FOR_IT.search(above[above.rfind(b"\n") + 1 :]) is not None


def _in_object(data: bytes, start: int, end: int) -> bool:
    """`{"value": "...", "name": "API_TOKEN"}`: what stands beside it in one object says secret."""
    before = data[max(0, start - OBJECT_MAX) : start]
    if _IN_VALUE.search(before) is None:
        return False
    opens = max(map(before.rfind, _BOUNDS)) + 1
    after = data[end : end + OBJECT_MAX]
    closes = min((at for at in map(after.find, _BOUNDS) if at >= 0), default=len(after))
    return any(
        _SAYS_SECRET.search(said["said"])
        for side in (before[opens:], after[:closes])
        for said in _OBJECT.finditer(side)
    )
