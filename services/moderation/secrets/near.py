"""What looks drawn by itself, and stands near a word that says secret, whatever is between them; or
begins as tokens do. Pure.

The other rules begin at a name and know how languages assign. This one begins at the value: texts
hold few runs of capitals, small letters and digits, so their surroundings can be looked at closely.
"""

import re
from collections.abc import Iterator

import ahocorasick_rs
import re2

from services.moderation.secrets import abroad, assigned, values, words
from services.moderation.secrets.spans import KEYWORD, Span

_RUN = r"[A-Za-z0-9!#$%&*+\-@^_~?]"
"""Without a path's signs, which stand between words that are no run."""
_MIXED = "|".join(
    f"{_RUN}*?[{a}]{_RUN}*?[{b}]{_RUN}*?[{c}]"
    for a, b, c in (
        ("a-z", "A-Z", "0-9"), ("a-z", "0-9", "A-Z"), ("A-Z", "a-z", "0-9"), ("A-Z", "0-9", "a-z"), ("0-9", "a-z", "A-Z"), ("0-9", "A-Z", "a-z"),
    )
)  # fmt: skip
_CANDIDATES = f"{_MIXED}|[a-z]{{2,8}}[_-][a-z0-9]{{40}}"
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
_SAYING = sorted({*words.LITERALS, "creds", *words.VENDORS, *WORDS_ABROAD})
_NAMES = ahocorasick_rs.BytesAhoCorasick([name.encode() for name in _SAYING], matchkind=ahocorasick_rs.MatchKind.LeftmostLongest)
_REST_OF_A_NAME = re.compile(rb"[\w\-\x80-\xff]*\\{0,3}[\"'`*\])|}>]{0,3}")
_NAMED_ANEW = re.compile(rb"(?<![\w%])(?P<name>[A-Za-z_][\w.\-]+)\\{0,3}[\"'`*]{0,3}[ \t]{0,4}(?:[:=](?!//)|=>)")
_NAMES_NO_OTHER = frozenset(
    b"value type text default kind encoding class is now temporary new old current string char pic".split()
)
"""`password` ... `value:`: what follows is still the password."""
_OTHER_THINGS = re.compile(
    rb"(?i)(?<![a-z])(?:ids?|hash(?:es|ed)?|sha\d*|md5|digest|checksum|fingerprint|url|uri|path|file|version|commit|build|case|order|ticket|request|trace|"
    rb"booking|reference|number|digits|characters|length|regex|pattern|example|policy|issue|model|image|public|pub|sum|etag|nonce|cursor|page|integrity|"
    rb"publickey|serial|device|uuid|ssid|bucket|hint|salt|digestvalue|thumbprint)(?![a-z])"
)
_ENDS_A_SENTENCE = re.compile(rb"[.!?][\"')]{0,2}\s|[;}]\s|\n\s*\n")
_CALL = re.compile(
    rb"(?i)(?:auth|log_?in|logon|connect|credential|jwt\.sign|[._ ]sign|crypt|cipher|hmac|btoa|b64encode|encodetostring|\bpdo|mysqli|session|"
    rb"cookieparser|secret|token|passwd|password|setenv|passphrase)\w*[ ]?\((?:[^()\n]|\([^()\n]*\))*\Z"
)
_IN_QUOTES = re.compile(rb"\\{0,3}[\"'`][\w.@%+\-]{0,48}:?\Z")
_BY_FLAG = re.compile(rb"[ ]-[pPkawW][ =]?[\"']?\Z")
_BY_USER = re.compile(rb"(?:[\w.@\-]{2,48}[\"'`]?[ ]/[ ][\"'`]?|(?:\n|\A|echo[ ])user[ ]\S{1,64}[ ])\Z", re.IGNORECASE)
_AGAIN = re.compile(rb"(?:->|=>|\xe2\x86\x92)")
_TOKEN = re.compile(rb"(?P<prefix>[a-z][a-z0-9]{1,11})[_-](?:[a-z0-9]{1,8}[_-]){0,2}(?P<drawn>[A-Za-z0-9]{32,})")
_IDS = frozenset(
    b"call chatcmpl cmpl msg toolu srvtoolu resp run thread asst file vs batch req rs fc ws item step ft ftjob fp gen user org proj evt event ch py "
    b"pi pm price prod cus sub in si il seti src tok txn tr po ba card acct inv cs bpc job task session sess conn trace span id uid ref img image "
    b"sha1 sha256 sha384 sha512 md5 blob commit node linux windows macos deps v1 v2 v3 cache key hash build release pkg npm yarn pip".split()
)
"""What a vendor calls its objects, which are no secrets."""
_OBJECT = re.compile(rb"[\"'](?:name|key|type|object|kind|label|title)[\"']\s{0,4}:\s{0,4}[\"'](?P<said>[^\"'\n]{2,64})[\"']")
_IN_VALUE = re.compile(rb"[\"'](?:value|v|data|text|content|val)[\"']\s{0,4}:\s{0,4}[\"']\Z")
_SAYS_SECRET = re.compile(rb"(?i)passw|pwd|passphrase|secret|token|api[_ -]?key|private[_ -]?key|access[_ -]?key|credential")
OBJECT_MAX = 240


def candidates(data: bytes) -> Iterator[tuple[int, int]]:
    """Where runs stand that mix capitals, small letters and digits; each is read twice at most."""
    at = 0
    while (found := _DRAWN.search(data, at)) is not None:
        start = found.start()
        begins = max(at, start - LENGTH_MAX)
        start = begins + len(data[begins:start].rstrip(_RUN_BYTES))
        whole = _WHOLE.match(data, start)
        assert whole is not None
        yield start, whole.end()
        at = whole.end()


def near(data: bytes, start: int, end: int, *, looks_back: bool) -> Span | None:
    """The secret that [start, end), one of `candidates`, is.

    Args:
        looks_back: whether what comes after it may make one of it.
    """
    said = data[start:end].rstrip(b".,?").lstrip(b"*")
    if len(said) < DRAWN_MIN and not said.translate(None, _NO_SIGNS):
        return None
    if not LENGTH_MIN <= len(said) <= LENGTH_MAX or said[:1] in (b"/", b"$", b"%", b"@", b"~", b"&", b"#"):
        return None
    text = said.decode()
    if data[start - 1 : start] == b"\\" and text[:1] in "nrt":
        start, text = start + 1, text[1:]  # a line's end, escaped
    start = data.index(text.encode(), start)
    token = _TOKEN.fullmatch(text.encode())
    if token is not None and _is_token(token):
        return Span(start, start + len(text), "Token")
    quoted = data[start - 1 : start] in _QUOTES if start else False
    drawn = values.is_random(text, DRAWN_MIN, quoted=quoted) and _three_kinds(text)
    chosen = values.is_chosen(text) and _ENDS.match(data, start + len(text)) is not None
    made = drawn or chosen or values.is_password(text, quoted=True)
    if not made or _CODE.search(text):
        return None
    before = _before(data, start)
    if not before.strip() or _NO_SECRET_BEFORE.search(before):
        return None
    if looks_back and drawn and _TO_CHARACTERS.match(data, start + len(text)):
        return Span(start, start + len(text), KEYWORD)
    if (drawn or chosen) and (
        _BY_FLAG.search(before) or _BY_USER.search(before) or (_IN_QUOTES.search(before) and _CALL.search(before))
    ):
        return Span(start, start + len(text), KEYWORD)
    if _is_named(before, text, drawn=drawn, chosen=chosen) or (looks_back and drawn and _in_object(data, start, start + len(text))):
        return Span(start, start + len(text), KEYWORD)
    return None


def _three_kinds(text: str) -> bool:
    return any(map(str.isupper, text)) and any(map(str.islower, text)) and any(map(str.isdigit, text))


def _is_token(token: re.Match[bytes]) -> bool:
    drawn = token["drawn"].decode()
    if token["prefix"] in _IDS or not values.is_random(drawn, 32):
        return False
    mixed = any(map(str.isupper, drawn)) and any(map(str.islower, drawn))
    return mixed or (len(drawn) >= 40 and re.search("[g-z]", drawn) is not None)


def _before(data: bytes, start: int) -> bytes:
    """What governs a value: the line before it, and the line above where it begins its own."""
    low = max(0, start - BEFORE_MAX)
    before = data[low:start]
    line = before.rfind(b"\n") + 1
    if before[line:].strip(b" \t\"'`-*<>|value_Value[("):
        return before[line:]
    above = before.rfind(b"\n", 0, max(0, line - 1)) + 1
    return before[above:]


def _is_named(before: bytes, text: str, *, drawn: bool, chosen: bool) -> bool:
    """Whether the last name before it that says secret is of this value."""
    for index, begins, ends in reversed(_NAMES.find_matches_as_indexes(before.lower())):
        literal = _SAYING[index]
        rest = _REST_OF_A_NAME.match(before, ends)
        assert rest is not None
        between = before[rest.end() :]
        strength = _strength(before, begins, ends, literal, rest[0])
        if strength in ("", "vendor"):
            continue
        if _ENDS_A_SENTENCE.search(between) or _OTHER_THINGS.search(between):
            return False
        if any(name["name"].lower() not in _NAMES_NO_OTHER for name in _NAMED_ANEW.finditer(between)):
            return False
        if literal in ("key", "token", "pass") and _OF_SOMETHING_ELSE.search(before, 0, begins):
            return False
        if strength == "password" and not drawn:
            if chosen:
                return len(between) <= _CLOSE
            compound = between == b" " and before[begins - 1 : begins] in (b"-", b"_")
            return (compound or _SETS.fullmatch(between) is not None) and _three_kinds(text)
        if strength in ("password", "token"):
            return drawn
        return strength == "weak" and drawn and len(between) <= _CLOSE and len(text) >= 16
    return False


_CLOSE = 32
_QUOTES = (b'"', b"'", b"`")
_ENDS = re.compile(rb"[.,;!?]?(?:[\s\"'`)\]<|]|\\[nrt\"']|\Z)")
_CODE = re.compile(r"&&|\?\w*[.?]")
_SETS = re.compile(rb"\s{0,24}(?:[:=>|\-]|\xe2\x80[\x93\x94]|[\"'`*]|<value>)(?:[\s\"'`*>|:]|<value>){0,16}", re.IGNORECASE)
"""What leaves no doubt that a value follows."""
_NO_SECRET_BEFORE = re.compile(rb"-----|\barn:|(?:ssh|ecdsa|sk-ssh)-\w+[ ]\Z|checksum/|sha\d{3}-\Z", re.IGNORECASE)
_OF_SOMETHING_ELSE = re.compile(
    rb"(?i)(?<![a-z])(?:" + b"|".join(word.encode() for word in sorted(words.NO_SECRET_BEFORE)) + rb")[ ]\Z"
)
_TO_CHARACTERS = re.compile(rb"[\"']\s{0,2}\.(?:toCharArray\(|to_?[sS]ecure)")
"""Java's passwords are arrays of characters."""


def _strength(before: bytes, begins: int, ends: int, literal: str, rest: bytes) -> str:
    if literal in WORDS_ABROAD or not literal.isascii():
        return "password" if literal in _PASSWORDS_ABROAD else "weak"
    if literal == "creds":
        return "token"
    return assigned.strength(before[assigned.name_begins(before, begins) : ends], literal, rest)


_PASSWORDS_ABROAD = frozenset(abroad.PASSWORDS)


def _in_object(data: bytes, start: int, end: int) -> bool:
    """`{"value": "...", "name": "API_TOKEN"}`: what stands beside it in one object says secret."""
    before = data[max(0, start - OBJECT_MAX) : start]
    if _IN_VALUE.search(before) is None:
        return False
    opens = max(before.rfind(b"{"), before.rfind(b"}")) + 1
    after = data[end : end + OBJECT_MAX]
    closes = min((at for at in (after.find(b"{"), after.find(b"}")) if at >= 0), default=len(after))
    return any(_SAYS_SECRET.search(said["said"]) for side in (before[opens:], after[:closes]) for said in _OBJECT.finditer(side))
