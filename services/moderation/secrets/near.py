"""What looks drawn by itself, and stands near a word that says secret, whatever is between them; or
begins as tokens do. Pure.

The other rules begin at a name and know how languages assign. This one begins at the value: texts
hold few runs of capitals, small letters and digits, so their surroundings can be looked at closely.
"""

import re
from collections.abc import Iterator

import ahocorasick_rs

from services.moderation.secrets import abroad, beside, naming, phrases, values, words
from services.moderation.secrets.linear import compiled
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


_DRAWN = compiled(_CANDIDATES, any_case=False)
LENGTH_MIN = 8
LENGTH_MAX = 512
DRAWN_MIN = 12
"""Of a value without a sign that people put into passwords."""
_NO_SIGNS = bytes(c for c in range(256) if chr(c) not in "!@#$%^&*+?~")
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
_PROSE_TO_COLON = re.compile(rb"(?:[ ][\w'()/\-]{1,32}){1,12}[ ]?:[ ]?[\"'`*]{0,3}")
_ENDS_A_SENTENCE = re.compile(rb"(?<=[\w\"')\]\x80-\xff])[.!?][\"')]{0,2}\s|[;}]\s|\n\s*\n")

_TOKEN = re.compile(rb"(?P<prefix>[a-z]{2}[a-z0-9]{0,10})[_-](?P<drawn>(?:[A-Za-z0-9]{1,16}[_-]){0,2}[A-Za-z0-9]{24,})")
_IDS = frozenset(
    b"call chatcmpl cmpl msg toolu srvtoolu resp run thread asst file vs batch req rs fc ws item step ft ftjob fp gen user org proj evt event ch py "
    b"pi pm price prod cus sub in si il seti src tok txn tr po ba card acct inv cs bpc job task session sess conn trace span id uid ref img image "
    b"sha1 sha256 sha384 sha512 md5 blob commit node linux windows macos deps v1 v2 v3 cache key hash build release pkg npm yarn pip".split()
)
"""What a vendor calls its objects, which are no secrets."""


_HEX = re.compile(r"[0-9a-f-]{32,128}")
_LOGIN_BEFORE = re.compile(r"(?:root|admin|administrator|user|guest)/(?=[^/]{8,}$)")
"""`(admin/...)`"""
_OPENS_A_LOGIN = (b"(", b" ", b"`", b'"', b"'", b"\t", b"\n")
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
    follows = data[end : end + 1]
    said = data[start:end].rstrip(b".," if follows in _QUOTES else b".,?$" if follows == b"{" else b".,?").lstrip(b"*")
    if data[start - 1 : start] == b":":
        said = said.removeprefix(b"-")  # `${NAME:-...}`
    if len(said) < LENGTH_MIN or (len(said) < DRAWN_MIN and not said.translate(None, _NO_SIGNS)):
        return
    if len(said) > LENGTH_MAX or said[:1] in (b"/", b"$", b"%", b"@", b"~", b"&", b"#"):
        return
    text = said.decode()
    if data[start - 1 : start] == b"\\" and text[:1] in "nrt":
        start, text = start + 1, text[1:]  # a line's end, escaped
    start = data.index(text.encode(), start)
    login = _LOGIN_BEFORE.match(text) if data[start - 1 : start] in _OPENS_A_LOGIN else None
    if login is not None:
        start, text = start + login.end(), text[login.end() :]
    if _HEX.fullmatch(text):
        if looks_back and _ENDS_ITS_LINE.match(data, start + len(text)) and beside.told_above(data, start):
            yield Span(start, start + len(text), KEYWORD)
        return
    before = _before(data, start)
    end = start + len(text)
    lower = before.lower()
    if any(sign in lower for sign in _OF_OTHERS) or (
        lower[-1:] in (b" ", b":", b"-", b"}") and _FORM_BEFORE.search(lower[-48:])
    ):
        return
    if values.is_of_code(text) if data[end : end + 1] != b"(" else _is_function(text):
        return
    token = _TOKEN.fullmatch(text.encode())
    if token is not None:
        yield None
        if _is_token(token):
            yield Span(start, end, "Token")
            return
    names = _NAMES.find_matches_as_indexes(lower)
    by_place = (
        login is not None
        or beside.by_place(before, lower)
        or (looks_back and _ENDS_ITS_LINE.match(data, end) is not None and beside.is_answer(data, start))
    )
    by_what_follows = looks_back and beside.by_what_follows(data, start, end, before)
    if not (names or by_place or by_what_follows) or _CODE.search(text):
        return
    yield None
    drawn = _three_kinds(text) and values.is_random(
        text, DRAWN_MIN, quoted=start > 0 and data[start - 1 : start] in _QUOTES
    )
    chosen = not drawn and values.is_chosen(text) and _ENDS.match(data, end) is not None
    given = by_place and data[start - 1 : start] in _QUOTES and values.is_numbered(text)
    named = names and (drawn or chosen or values.is_password(text, quoted=True))
    if (
        ((drawn or chosen) and by_what_follows)
        or ((drawn or chosen or given) and by_place)
        or (named and _is_named(before, names, text, drawn=drawn, chosen=chosen))
    ):
        yield Span(start, end, KEYWORD)


def _is_function(text: str) -> bool:
    """Of a name before a bracket: `getOAuth2Token(`. Unlike what is drawn, it is mostly words."""
    return _IDENTIFIER.fullmatch(text) is not None and 3 * sum(map(len, _HUMPS.findall(text))) >= 2 * len(text)


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
    low = max(0, start - beside.BEFORE_MAX)
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
        if _ENDS_A_SENTENCE.search(between) or naming.is_of_others(between):
            return False
        if not _PROSE_TO_COLON.fullmatch(between) and any(
            name["name"].lower() not in _NAMES_NO_OTHER for name in _NAMED_ANEW.finditer(between)
        ):
            return False
        if literal in ("key", "token", "pass") and naming.is_of_something_else(before, begins):
            return False
        if strength == "password" and not drawn:
            if chosen:
                return len(between) <= _CLOSE
            compound = between == b" " and before[begins - 1 : begins] in (b"-", b"_")
            firm = compound or _SETS.fullmatch(between) is not None
            return (firm and _three_kinds(text)) or (
                (len(between) <= _NEXT or between.endswith(b" is ")) and phrases.is_made_of_words(text)
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


def _strength(before: bytes, begins: int, ends: int, literal: str, rest: bytes) -> str:
    if literal == "creds" or literal in _DRAWN_ONLY:
        return "token"
    if literal in WORDS_ABROAD or not literal.isascii():
        return "password" if literal in _PASSWORDS_ABROAD else "weak"
    return naming.strength(before[naming.begins(before, begins) : ends], literal, rest)


_PASSWORDS_ABROAD = frozenset(abroad.PASSWORDS)
