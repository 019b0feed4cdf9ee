"""What looks drawn by itself, and stands near a word that says secret, whatever is between them; or
begins as tokens do. Pure.

The other rules begin at a name and know how languages assign. This one begins at the value: texts
hold few runs of capitals, small letters and digits, so their surroundings can be looked at closely.
"""

import re
import string
from collections.abc import Iterator

import ahocorasick_rs
import re2

from services.moderation.secrets import abroad, assigned, values, words
from services.moderation.secrets.spans import KEYWORD, Found, Span

_RUN = r"[A-Za-z0-9!#$%&*+\-@^_~?]"
"""Without a path's signs, which stand between words that are no run."""
_MIXED = "|".join(
    f"{_RUN}*?[{a}]{_RUN}*?[{b}]{_RUN}*?[{c}]"
    for a, b, c in (
        ("a-z", "A-Z", "0-9"), ("a-z", "0-9", "A-Z"), ("A-Z", "a-z", "0-9"), ("A-Z", "0-9", "a-z"), ("0-9", "a-z", "A-Z"), ("0-9", "A-Z", "a-z"),
    )
)  # fmt: skip
_CANDIDATES = f"{_MIXED}|[a-z]{{2,8}}[_-][a-z0-9]{{40}}|\n[ \t]*[0-9a-f]{{8}}[0-9a-f-]{{24}}"
_WHOLE = re.compile(rb"[A-Za-z0-9!#$%&*+\-./@^_~?]+={0,2}")
_RUN_BYTES = bytes(c for c in range(128) if chr(c).isalnum()) + b"!#$%&*+-./@^_~?"


def _automaton() -> re2._Regexp:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    return re2.compile(_CANDIDATES.encode(), options)


_DRAWN = _automaton()
LENGTH_MIN = 8
LENGTH_MAX = 512
DRAWN_MIN = 12
"""Of a value without a sign that people put into passwords."""
_NO_SIGNS = bytes(c for c in range(256) if chr(c) not in "!@#$%^&*+?~")
BEFORE_MAX = 160
"""Bytes before a value that are looked at; less than a stream's screening still sees."""
WORDS_ABROAD = (*abroad.PASSWORDS, *abroad.KEYS)
_DRAWN_ONLY = ("clave", "schluessel")
"""Words of other languages that say too little for another rule."""
_SAYING = sorted({*words.LITERALS, "creds", *_DRAWN_ONLY, *words.VENDORS, *WORDS_ABROAD})
_NAMES = ahocorasick_rs.BytesAhoCorasick(
    [name.encode() for name in _SAYING], matchkind=ahocorasick_rs.MatchKind.LeftmostLongest
)
_REST_OF_A_NAME = re.compile(rb"[\w\-\x80-\xff]*\\{0,3}[\"'`*\])|}>]{0,3}")
_NAMED_ANEW = re.compile(rb"(?<![\w%])(?P<name>[A-Za-z_][\w.\-]+)\\{0,3}[\"'`*]{0,3}[ \t]{0,4}(?:[:=](?!//)|=>)")
_NAMES_NO_OTHER = frozenset(
    b"value type text default kind encoding class is now temporary new old current string char pic u8 str const".split()
)
"""`password` ... `value:`: what follows is still the password."""
_OTHER_THINGS = frozenset(
    b"id ids hash hashes hashed md sha digest checksum fingerprint url uri path file version commit build case order ticket request trace booking reference number digits "
    b"characters length regex pattern example policy issue model image public pub sum etag nonce cursor page integrity publickey serial device uuid ssid bucket hint salt "
    b"thumbprint".split()
)
_PIECES = re.compile(rb"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_PROSE_TO_COLON = re.compile(rb"(?:[ ][\w'()/\-]{1,32}){1,12}[ ]?:[ ]?[\"'`*]{0,3}")
_ENDS_A_SENTENCE = re.compile(rb"(?<=[\w\"')\]\x80-\xff])[.!?][\"')]{0,2}\s|[;}]\s|\n\s*\n")
_CALLED = re.compile(
    rb"(?:auth|log_?in|logon|connect|credential|jwt\.sign|[._ ]sign|crypt|cipher|hmac|btoa|b64encode|encodetostring|\bpdo|mysqli|session|"
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
    rb"\b(?:isakmp|tacacs-server|radius-server)[ ]key[ ](?:\d[ ])?|(?<![\w-])(?:root|admin|administrator)\b[^\n:=]{0,40}[:=][ \t]{0,4}[\"'`]?|"
    rb"http-basic\S{0,64}[ ]\S{1,64}[ ]|\bidentify[ ]|identified[ ]by[ ]|[?&]code=)\Z",
    re.IGNORECASE,
)
_LOGINS = (
    b"user ",
    b"login",
    b" : ",
    b"config ",
    b"community ",
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
    rb"[\"']?[ ]{0,2}\|[ ]{0,2}+(?!base64|openssl (?:base64|dgst)|xxd|jq|sha\d|md5|grep|sed|awk|tr |cut |wc|xargs)"
)
"""What decodes, looks into or counts what comes is given no secret by that."""

_AGAIN = re.compile(rb"(?:->|=>|\xe2\x86\x92)")
_TOKEN = re.compile(rb"(?P<prefix>[a-z]{2}[a-z0-9]{0,10})[_-](?P<drawn>(?:[A-Za-z0-9]{1,16}[_-]){0,2}[A-Za-z0-9]{24,})")
_IDS = frozenset(
    b"call chatcmpl cmpl msg toolu srvtoolu resp run thread asst file vs batch req rs fc ws item step ft ftjob fp gen user org proj evt event ch py "
    b"pi pm price prod cus sub in si il seti src tok txn tr po ba card acct inv cs bpc job task session sess conn trace span id uid ref img image "
    b"sha1 sha256 sha384 sha512 md5 blob commit node linux windows macos deps v1 v2 v3 cache key hash build release pkg npm yarn pip".split()
)
"""What a vendor calls its objects, which are no secrets."""
_OBJECT = re.compile(
    rb"\b(?:name|key|type|object|kind|label|title|setting|option)[\"']?\s{0,4}[:=]\s{0,4}[\"'](?P<said>[^\"'\n]{2,64})[\"']"
)
_IN_VALUE = re.compile(rb"\b(?:value|v|data|text|content|val)[\"']?\s{0,4}[:=]\s{0,4}[\"']\Z")
_SAYS_SECRET = re.compile(
    rb"(?i)passw|pwd|passphrase|secret|token|api[_ -]?key|private[_ -]?key|access[_ -]?key|credential"
)
OBJECT_MAX = 240
_BOUNDS = (b"{", b"}", b"<", b">", b";")


_HEX = re.compile(r"[0-9a-f-]{32,128}")
_ENDS_ITS_LINE = re.compile(rb"[ \t]{0,8}(?:\r?\n|\Z)")


def candidates(data: bytes) -> Iterator[tuple[int, int]]:
    """Where runs stand that mix capitals, small letters and digits; each is read twice at most."""
    at = 0
    while (found := _DRAWN.search(data, at)) is not None:
        start = found.end() - len(found[0].lstrip())
        begins = max(at, start - LENGTH_MAX)
        start = begins + len(data[begins:start].rstrip(_RUN_BYTES))
        whole = _WHOLE.match(data, start)
        assert whole is not None
        if whole.end() - start >= LENGTH_MIN:
            yield start, whole.end()
        at = whole.end()


def near(data: bytes, start: int, end: int, *, looks_back: bool) -> Iterator[Found]:
    """The secret that [start, end), one of `candidates`, is.

    Args:
        looks_back: whether what comes after it may make one of it.
    """
    said = data[start:end].rstrip(b".,?").lstrip(b"*")
    if len(said) < LENGTH_MIN or (len(said) < DRAWN_MIN and not said.translate(None, _NO_SIGNS)):
        return
    if len(said) > LENGTH_MAX or said[:1] in (b"/", b"$", b"%", b"@", b"~", b"&", b"#"):
        return
    text = said.decode()
    if data[start - 1 : start] == b"\\" and text[:1] in "nrt":
        start, text = start + 1, text[1:]  # a line's end, escaped
    start = data.index(text.encode(), start)
    if _HEX.fullmatch(text):
        if looks_back and _ENDS_ITS_LINE.match(data, start + len(text)) and _told_above(data, start):
            yield Span(start, start + len(text), KEYWORD)
        return
    before = _before(data, start)
    end = start + len(text)
    lower = before.lower()
    if any(sign in lower for sign in _OF_OTHERS) or (
        lower[-1:] in (b" ", b":", b"-", b"}") and _FORM_BEFORE.search(lower[-48:])
    ):
        return
    if _is_of_code(text) if data[end : end + 1] != b"(" else _is_function(text):
        return
    token = _TOKEN.fullmatch(text.encode())
    if token is not None:
        yield None
        if _is_token(token):
            yield Span(start, end, "Token")
            return
    names = _NAMES.find_matches_as_indexes(lower)
    by_place = _by_place(before, lower) or (
        looks_back and _ENDS_ITS_LINE.match(data, end) is not None and _is_answer(data, start)
    )
    by_what_follows = looks_back and _by_what_follows(data, start, end, before)
    if not (names or by_place or by_what_follows) or _CODE.search(text):
        return
    yield None
    drawn = _three_kinds(text) and values.is_random(
        text, DRAWN_MIN, quoted=start > 0 and data[start - 1 : start] in _QUOTES
    )
    chosen = not drawn and values.is_chosen(text) and _ENDS.match(data, end) is not None
    named = names and (drawn or chosen or values.is_password(text, quoted=True))
    if (
        (drawn and by_what_follows)
        or ((drawn or chosen) and by_place)
        or (named and _is_named(before, names, text, drawn=drawn, chosen=chosen))
    ):
        yield Span(start, end, KEYWORD)


def _by_place(before: bytes, lower: bytes) -> bool:
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
            and not ((name := _NAME_OF_IT.search(before)) is not None and _is_of_others(name[1]))
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
        else:
            return _CALLED.search(lower, max(line, at - CALLED_MAX), at) is not None
    return False


_CLOSES = ord(")")


def _by_what_follows(data: bytes, start: int, end: int, before: bytes) -> bool:
    return (
        _TO_CHARACTERS.match(data, end) is not None
        or (_INTO.match(data, end) is not None and _PIPED.search(before) is not None)
        or _COMMENTED.match(data, end) is not None
        or _in_object(data, start, end)
    )


def _told_above(data: bytes, start: int) -> bool:
    """Whether the last line above that holds anything ends with a colon, and says secret."""
    above = data[max(0, start - BEFORE_MAX) : start].rstrip()
    line = above[above.rfind(b"\n") + 1 :]
    return line.endswith(b":") and _SAYS_SECRET.search(line) is not None and not _is_of_others(line)


_SPEAKS = re.compile(rb"[ \t<\[]{0,2}[A-Za-z][\w .@\-]{0,32}[>\]]?:[ ](?:[\w',]{1,12}[ ]){0,5}[\"'`]?\Z")
_ASKS_FOR_IT = re.compile(
    rb"(?i)(?:passw|passphrase|\bpwd?\b|secret|token|\bkey\b|credential|\blogin\b)[^\n]{0,60}[?.!:]\s{0,4}\Z"
)


def _is_answer(data: bytes, start: int) -> bool:
    """`Agent: Which key do you use?`, and in the next line `Ann: ...`, or the value alone."""
    low = max(0, start - BEFORE_MAX)
    above, _, line = data[low:start].rpartition(b"\n")
    return _SPEAKS.fullmatch(line) is not None and _ASKS_FOR_IT.search(above[above.rfind(b"\n") + 1 :]) is not None


def _is_function(text: str) -> bool:
    """Of a name before a bracket: `getOAuth2Token(`. Unlike what is drawn, it is mostly words."""
    return _IDENTIFIER.fullmatch(text) is not None and 3 * sum(map(len, _HUMPS.findall(text))) >= 2 * len(text)


def _is_of_code(text: str) -> bool:
    """A name of several words, with a number or two (`RefreshTokenV1Payload`)."""
    said = [hump for hump in _HUMPS.findall(text) if len(hump) > 2 and values.is_word(hump)]
    return (
        _IDENTIFIER.fullmatch(text) is not None
        and sum(map(str.isdigit, text)) <= DIGITS_OF_CODE
        and len(said) >= 2
        and 4 * sum(map(len, said)) >= 3 * sum(map(str.isalpha, text))
    )


DIGITS_OF_CODE = 3


def _three_kinds(text: str) -> bool:
    return any(map(str.isupper, text)) and any(map(str.islower, text)) and any(map(str.isdigit, text))


def _is_token(token: re.Match[bytes]) -> bool:
    drawn = re.sub("[_-]", "", token["drawn"].decode())
    if token["prefix"] in _IDS or not values.is_random(drawn, 32):
        return False
    mixed = any(map(str.isupper, drawn)) and any(map(str.islower, drawn))
    return mixed or (len(drawn) >= 40 and re.search("[g-z]", drawn) is not None)


def _before(data: bytes, start: int) -> bytes:
    """What governs a value: the line before it; where it begins its own, the line above too, if
    that opens something, or the one above a single word (a user's name above a password).
    """
    low = max(0, start - BEFORE_MAX)
    before = data[low:start]
    line = before.rfind(b"\n") + 1
    if before[line:].strip(b" \t\"'`-*<>|value_Value[(") and not _OPENING_TAG.fullmatch(before[line:]):
        return before[line:]
    for _ in range(2):
        above = before.rfind(b"\n", 0, max(0, line - 1)) + 1
        said = before[above:line].strip()
        if said.endswith((b"</key>", b"</name>", *_OPENS)) or said.startswith(b"$ "):
            return before[above:]
        if not line or b" " in said:
            break
        line = above
    return before[before.rfind(b"\n") + 1 :]


_OPENING_TAG = re.compile(rb"\s{0,40}<\w{1,24}>")
_OPENS = (b":", b">", b"=", b"(", b"{", b"[", b"|", b"-", b",", b"\\")


def _is_of_something_else(before: bytes, begins: int) -> bool:
    """`the page token`: the word before a name."""
    head = before[max(0, begins - 24) : begins]
    word = head[:-1].lower()
    return head.endswith(b" ") and word[len(word.rstrip(_LETTERS)) :] in _OTHERS_BEFORE


def _is_of_others(between: bytes) -> bool:
    """`password hash for Ann: ...`, `token with the id ...`: the first word, or one of the last."""
    said = _PIECES.findall(between.lower() if between.isupper() else between)
    return any(word.lower() in _OTHER_THINGS for word in (*said[:1], *said[-2:]))


def _is_named(before: bytes, names: list[tuple[int, int, int]], text: str, *, drawn: bool, chosen: bool) -> bool:
    """Whether the last name before it that says secret is of this value."""
    for index, begins, ends in reversed(names):
        literal = _SAYING[index]
        if before[begins - 2 : begins] == b"</":
            continue
        rest = _REST_OF_A_NAME.match(before, ends)
        assert rest is not None
        between = before[rest.end() :]
        strength = _strength(before, begins, ends, literal, rest[0])
        if strength in ("", "vendor"):
            continue
        if _ENDS_A_SENTENCE.search(between) or _is_of_others(between):
            return False
        if not _PROSE_TO_COLON.fullmatch(between) and any(
            name["name"].lower() not in _NAMES_NO_OTHER for name in _NAMED_ANEW.finditer(between)
        ):
            return False
        if literal in ("key", "token", "pass") and _is_of_something_else(before, begins):
            return False
        if strength == "password" and not drawn:
            if chosen:
                return len(between) <= _CLOSE
            compound = between == b" " and before[begins - 1 : begins] in (b"-", b"_")
            firm = compound or _SETS.fullmatch(between) is not None
            return (firm and _three_kinds(text)) or (
                (len(between) <= _NEXT or between.endswith(b" is ")) and values.is_made_of_words(text)
            )
        if strength in ("password", "token"):
            return drawn
        sets = _SETS.fullmatch(between) is not None
        shown = len(text) >= SHOWN_MIN and _PROSE_TO_QUOTE.fullmatch(between) is not None
        return drawn and ((len(text) >= 16 and sets) or shown)
    return False


SHOWN_MIN = 32
_PROSE_TO_QUOTE = re.compile(rb"[ ]|(?:[ ][\w'/()\-]{1,24}){1,12}[ ]?:?[ ]?`")
"""`I pasted the key here so you have it` and it, in the quotes of code; or right after the word."""
_CLOSE = 32
_NEXT = 10
_QUOTES = (b'"', b"'", b"`")
_ENDS = re.compile(rb"[.,;!?]?(?:[\s\"'`)\]<|]|\\[nrt\"']|\Z)")
_IDENTIFIER = re.compile(r"[A-Za-z_][\w.]*")
_HUMPS = re.compile(r"[A-Z]?[a-z]{2,}")
_CODE = re.compile(r"&&|\?\w*[.?]|[aA]-[zZ]")
_SETS = re.compile(
    rb"\s{0,24}(?:[:=>|\-]|\xe2\x80[\x93\x94]|[\"'`*]|<value>)(?:[\s\"'`*>|:]|<value>){0,16}", re.IGNORECASE
)
"""What leaves no doubt that a value follows."""
_OF_OTHERS = (b"-----", b"arn:", b"checksum/")
_FORM_BEFORE = re.compile(
    rb"(?:(?:ssh|ecdsa|sk-ssh)-\S{1,40}[ ]|(?:sha\d{3}|md5)[:-]|\{(?:s?sha\d{0,3}|s?md5|crypt|bcrypt|argon2\w{0,2}|pbkdf2[\w-]{0,12})\})\Z"
)
"""In small letters: what stands behind says itself that it is a public key, or a digest."""
_OTHERS_BEFORE = frozenset(word.encode() for word in words.NO_SECRET_BEFORE)
_LETTERS = string.ascii_letters.encode()
_TO_CHARACTERS = re.compile(rb"[\"']\s{0,2}\.(?:toCharArray\(|to_?[sS]ecure)")
"""Java's passwords are arrays of characters."""


def _strength(before: bytes, begins: int, ends: int, literal: str, rest: bytes) -> str:
    if literal == "creds" or literal in _DRAWN_ONLY:
        return "token"
    if literal in WORDS_ABROAD or not literal.isascii():
        return "password" if literal in _PASSWORDS_ABROAD else "weak"
    return assigned.strength(before[assigned.name_begins(before, begins) : ends], literal, rest)


_PASSWORDS_ABROAD = frozenset(abroad.PASSWORDS)


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
