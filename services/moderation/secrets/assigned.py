"""What stands behind a name that says secret: `API_KEY=`, `"password":`, `--token`, `the passphrase
is`. Pure.

A rule is tried where one of LITERALS stands (in lower case). First what follows must be an
assignment in some language, then the whole name is judged, then the value: a name makes a value
suspect, and only what looks drawn is one (phrases, values.py).
"""

import re
from collections.abc import Iterator

from services.moderation.secrets import abroad, naming, phrases, structures, values
from services.moderation.secrets.spans import KEYWORD, Found, Span

_NAME = rb"""[A-Za-z0-9_\-]{0,40}(?:\\{0,3}["'`*]{1,2})?(?:\[\d{0,6}\])?[\])]?"""
_SPACE = rb"(?:[ \t]|\xc2\xa0|\\t)"
_TYPED = rb"(?:[ ]As[ ]String(?=[ ]=)|[ ]{0,4}:[ ]{0,4}(?:str|string|String|SecretStr|&'?\w*[ ]?str|Final(?:\[str\])?|Optional\[str\])(?=[ ]{0,4}=))?"
_OPENING = (
    rb"(?P<list>[\[({]{1,2}\s{0,16}(?=[fbruFBRU]{0,2}[\"'`]|(?<=\[\[)))?(?:"
    + abroad.QUOTES.encode()
    + rb""")?(?P<call>[A-Za-z_][\w.:]{0,40}\((?:[^()\n"'`]{0,40}\(){0,2}(?:[^()\n"'`]{0,60}\bdefault[ ]?=[ ]?|["'][\w.\-]{1,60}["'],[ ]?(?:default[ ]?=[ ]?)?)?(?=[fbruFBRU]{0,2}["'`]))?(?:["'](?=\\{1,3}["']))?(?:[fbruFBRU@$]{1,3}(?=["'`]))?(?P<quote>\\{0,3}["'`]|&quot;)?(?P<scheme>(?i:bearer|basic|token|apikey|key|splunk|ssws|bot)[ \t]{1,2})?"""
)
_OPERATOR = re.compile(
    _NAME + _TYPED + _SPACE + rb"{0,16}(?P<sep>%3[dD]|=>|:=|\?=|\|\|=?|&&=|\?\?=?|===?|=|:-(?=[\w\"'])|:{1,2}|->|\xe2\x86\x92|\xef\xbc\x9a|\{(?=[\"']))(?:\*\*|__)?" + _SPACE + rb"{0,16}(?P<block>[>|][+-]?(?=\r?\n))?"
    rb"""(?P<line>\\?\r?\n[ \t]{0,16}(?:-[ ])?(?=\S)(?![+\-]?[A-Za-z_][\w.\-]{0,60}[ \t]?[=:]))?""" + _OPENING
)  # fmt: skip
"""An assignment, in most languages and formats."""
_PROSE = re.compile(
    rb"""[A-Za-z]{0,8}["'`*]{0,2}(?P<sep>(?:,[ ](?:which|that|it))?(?:[ ][\w\x80-\xff'/()\-]{1,24}){0,6}?(?:[ ](?:is|was|are|equals|reads|to|as|"""
    + abroad.VERBS.encode()
    + rb""")(?:[ ](?:now|currently|still|set[ ]to|this))?[ ]{0,2}:?[ ]{1,3}(?:\r?\n)?|[ ]?:[ ]{1,3}|[ \x80-\xff]{0,60}?(?:\xef\xbc\x9a|(?<=[\x80-\xff]):)[ ]{0,3}|[ ]?(?:"""
    + abroad.JOINTS.encode()
    + rb""")[ ]?))""" + _OPENING
)  # fmt: skip
"""The token for the staging system is ..."""
_OTHER = re.compile(
    _NAME + rb"""(?P<sep>(?:\s|\\n|,|\n#){1,16}(?:-[ ])?(?:\\{0,3}["'])?(?:[vV]alue|content)(?:\\{0,3}["'])?\s{0,4}[:=]\s{0,4}"""
    rb"""|[ ](?:--body[ =]|-b[ ]?(?=["'\w])|<<<[ ]?)|,[ ]{0,2}(?:\w{1,20}=[^,\n]{0,40},[ ]{0,2}){0,3}default[ ]?=[ ]?|(?:[ ][\w:]{1,20}=["'][^"'<>\n]{0,80}["']){1,4}>\s{0,20}"""
    rb"""|["']?:[ ]{0,4}\r?\n(?:[ ]{1,24}(?:Type|NoEcho|Description|MinLength|MaxLength|AllowedPattern|ConstraintDescription):[^\n]{0,120}\n){1,6}[ ]{1,24}Default:[ ]{1,4}"""
    rb"""|\)?\.(?:send_?keys|sendKeys|fill|type|set_?value|setValue)\([ ]{0,2}"""
    rb"""|(?:</\w{1,12})?>\s{0,20}<\w{1,12}(?:[ ][^<>\n]{1,60})?>\s{0,8}|\?\r?\n(?:[\w .@-]{1,24}:[ ])?(?=\S{16})"""
    rb"""|\s{0,2}\{\s{1,8}(?:[a-z_]{1,20}[ ]{0,20}=[^\n]{0,80}\n\s{0,8}){0,4}?default[ ]{0,20}=[ ]{0,4}"""
    rb"""|[ \t]{0,2}\([ \t]{0,2}(?=["'`])|[ ]\((?=\S{6,64}\))|[ \t]{0,2},[ \t]{0,16}(?=["'`])|,(?=[^\s,]{16,256})|[ ]{0,2}:?\r?\n[ ]{0,8}(?=\S{16})|[ \t]{0,30}\|[ \t]{0,30}|>\s{0,20}|[ \t]{1,16}(?=\S))""" + _OPENING
)  # fmt: skip
"""Calls, tables, XML, Kubernetes' `name:` and `value:`, flags."""
_QUOTED = {
    quote: re.compile(rb"((?:(?!" + re.escape(quote) + rb")\S){1,4096}?)" + re.escape(quote))
    for quote in (b'"', b"'", b"`", b'\\"', b"\\'", b'\\\\"', b'\\\\\\"', b"&quot;")
}
_BARE = re.compile(rb"[^\s\"'`,;<>|\\]{1,256}")
_BARE_QUERY = re.compile(rb"[^\s\"'`,;<>|\\&#]{1,256}")
_OTHER_SCRIPT = re.compile(rb"(?<=[!-~])[\xe2-\xef]")
"""A sentence in another script goes on behind a value without a space."""
_BARE_REST = re.compile(rb"[^\s\"'`,;<>|\\&#]{0,8192}")
_VERB_BEFORE = re.compile(rb"[\"'`]?,? (?:as|is|for|=|an?) ")
_ENDS_A_WORD = (b" ", b"\n", b"\t", b"\r", b'"', b"'", b"`", b"(")
_BEFORE = re.compile(
    rb"(?:^|[\s\"'`(])(?P<v>[^\s\"'`(]{8,200})[\"'`]?,? (?:(?:as|is|for|=) (?P<whose>the|my|our|its|his|her|your|a|an) (?:[\w'-]{1,16} ){0,3}|as (?:\w{1,16} )?|an? (?:(?:strong|good|safe|secure|weak|bad|valid|easy|great) )?)$"
)
_LINE_STARTS = re.compile(
    rb"(?:^|\n)[ \t]*(?:(?:ENV|ARG|setenv|set|export|machine|default|host)\b[^\n]*|(?:machine|login)\b[^\n]*\n[ \t]*|\w+[ ]config[ ]set\b[^\n]*)$",
    re.IGNORECASE,
)
_NO_ASSIGNMENT = re.compile(rb"::$|checksum/$|\barn:[\w-]{2,12}:[^\s\"'`,]{0,140}$|\{\{[-~]?\s{0,2}$")
"""Before a name: a type's, as in CloudFormation; a part of an ARN; a template's."""


def around(data: bytes, literal: str, start: int, end: int, *, looks_back: bool) -> Iterator[Found]:
    """What a literal at [start, end) gives away.

    Args:
        looks_back: whether a value may stand before its name, too (`... is the password`).
    """
    name_start = naming.begins(data, start)
    head = data[name_start:end]
    found = _assigned(data, head, literal, end)
    if found is not None:
        where = _value_at(data, found, start)
        if where is not None:
            spoken = found.re is _PROSE
            strong = naming.strength(head, literal, b"" if spoken else data[end : found.start("sep")])
            if strong:
                yield None
                span = _judged(data, found, where, name_start, strong, literal, spoken=spoken)
                if span is not None and not _NO_ASSIGNMENT.search(data, max(0, name_start - 160), name_start):
                    yield span
                    yield from _listed(data, found, span)
                    return
    if looks_back and literal in SPOKEN and data[max(0, start - 1) : start] == b" ":
        yield from _told_before(data, start, end, literal)


_NEXT = re.compile(
    rb"""["']\s{0,4},\s{0,16}["'](?P<v>[^\s"']{8,4096})(?=["'])|\r?\n[ \t]{0,16}-[ ]["']?(?P<w>[^\s"'`:=]{8,256})"""
)


def _listed(data: bytes, found: re.Match[bytes], first: Span) -> Iterator[Found]:
    """What stands behind the first item of a list of secrets."""
    if not found["list"] and not data[found.end("sep") : first.start].strip(b" \t\r\n\"'").startswith(b"-"):
        return
    at = first.end
    while (item := _NEXT.match(data, at)) is not None:
        yield None
        which = "v" if item["v"] is not None else "w"
        if values.is_random(item[which].decode("utf-8", "replace"), 16):
            yield Span(item.start(which), item.end(which), KEYWORD)
        at = item.end(which)


def _assigned(data: bytes, head: bytes, literal: str, end: int) -> re.Match[bytes] | None:
    """How a value follows the name, if the name (`head`, and what goes on at `end`) is one that
    says secret.
    """
    tail = _TAIL.match(data, end)
    assert tail is not None
    spoken = literal in SPOKEN and naming.strength(head, literal, b"") != ""
    if not spoken and not naming.strength(head, literal, tail[0].rstrip(b"-")):  # the last may be of an arrow
        return None
    found = _OPERATOR.match(data, end)
    if found is None and literal in SPOKEN:
        found = _PROSE.match(data, end)
    if found is None or data[found.end() : found.end() + 1] in (b"\r", b"\n"):  # its value isn't in this line
        return _OTHER.match(data, end) or found
    return found


_TAIL = re.compile(rb"[A-Za-z0-9_\-]{0,40}")
SPOKEN = frozenset({"pass", "passw", "passphrase", "passcode", "secret", "token", "key", "credential", "pwd", "pin"})


def _told_before(data: bytes, start: int, end: int, literal: str) -> Iterator[Found]:
    """`use Zx9kQ2mN as the password`"""
    told = None
    for verb in _VERB_BEFORE.finditer(data, max(0, start - 80), start):
        low = max(0, verb.start() - 201)
        head = data[low : verb.start()]
        begins = 1 + max(map(head.rfind, _ENDS_A_WORD))
        if len(head) - begins >= 8:
            told = _BEFORE.search(data, max(0, low + begins - 1), start)
        if told is not None:
            break
    if (
        told is None
        or data.startswith((b"'s", b"\xe2\x80\x99s"), end)
        or not naming.strength(data[start:end], literal, b"")
    ):
        return
    yield None
    text = told["v"].decode("utf-8", "replace")
    if any("0" <= c <= "9" for c in text) and values.is_random(text, 8 if told["whose"] else 16):
        yield Span(told.start("v"), told.end("v"), KEYWORD)


def _value_at(data: bytes, found: re.Match[bytes], name_at: int) -> tuple[int, int, bool] | None:
    """(start, end, quoted) of the value, or None where it is too short to look at."""
    quote = found["quote"] or b""
    at = found.end()
    value = _QUOTED[quote].match(data, at) if quote in _QUOTED else None
    if value is not None:
        start, end = value.span(1)
        return (start, end, True) if end - start >= VALUE_MIN else None
    if quote:
        at = found.start("quote") + len(quote)
    bare = (_BARE_QUERY if _in_query(data, name_at) else _BARE).match(data, at)
    if bare is None:
        return None
    follows = bare[0].find(b"${", 1)
    if follows >= 0 and values.is_random(bare[0][:follows].decode("utf-8", "replace"), 16):
        return (at, at + follows, False)
    if bare[0].endswith(b"=") and data[bare.end() : bare.end() + 1] in (b'"', b"'"):
        return None  # an attribute of its own
    plain = data[at] >= 128 or bare[0].isascii()
    cut = None if plain else _OTHER_SCRIPT.search(data, at + 1, bare.end())
    end = bare.end() if cut is None else cut.start()
    return (at, end, False) if end - at >= VALUE_MIN else None


def _judged(
    data: bytes,
    found: re.Match[bytes],
    where: tuple[int, int, bool],
    name_start: int,
    strength: str,
    literal: str,
    *,
    spoken: bool,
) -> Span | None:
    start, end, quoted = where
    if not quoted:
        last = data[start:end].rstrip(b".,;:!?)]}")
        if not spoken and (
            (strength == "password" and data[end - 1 : end] == b"!")
            or (found["sep"].strip() == b"=" and data[end - 1 : end] in (b"!", b"?"))
        ):
            last = data[start:end]
        end = start + len(last)
        if end - start < VALUE_MIN:
            return None
    text = data[start : min(end, start + JUDGED_MAX)].decode("utf-8", "ignore")
    separator = found["sep"].strip()
    if spoken and _OF_ANOTHER.search(separator):
        return None
    apart = b"\n" in found["sep"] and b"alue" not in found["sep"] and b"efault" not in found["sep"]
    parts = found.groupdict()
    alone = apart or (parts.get("line") is not None and parts.get("block") is None)
    if literal == "sessionid" and b"alue" not in found["sep"]:
        return None
    if apart and "=" in text.rstrip("="):
        return None  # the next line of something else
    if alone and not quoted and not (strength != "weak" and values.is_random(text, 16, quoted=False)):
        whole_line = (
            strength == "password"
            and separator == b":"
            and data[where[1] : where[1] + 2].lstrip(b"\r")[:1] in (b"", b"\n")
        )
        if not (whole_line and _is_told(text)):
            return None
    if (
        not separator
        and not alone
        and not _may_follow_space(data, name_start)
        and not _stands_out(data, name_start, text, strength, quoted=quoted)
    ):
        return None
    if separator in (b"(", b",") and not (
        values.is_random(text, 8) or values.is_chosen(text) or (strength == "token" and quoted and values.is_uuid(text))
    ):
        fallback = strength == "password" and quoted and _FALLBACK.search(data, max(0, name_start - 24), name_start)
        if not (fallback and values.is_password(text, quoted=True)):
            return None
    if found["call"] and not (values.is_random(text, 16) or values.is_chosen(text)):
        return None
    if spoken and separator.split()[-1:] in ([b"to"], [b"as"]) and not values.is_random(text, 8):
        known = values.is_password(text, quoted=True) and any(c.isdigit() for c in text)
        if not (quoted and (known if strength == "password" else values.is_uuid(text))):
            return None
    if spoken and strength in ("weak", "vendor") and not quoted and not values.is_random(text, 16, quoted=False):
        return None
    scheme = (found["scheme"] or b"").strip().lower()
    if (
        scheme in (b"basic", b"bearer", b"bot", b"ssws", b"splunk")
        and len(text) >= 8
        and not values.is_placeholder(text)
    ):
        basic = scheme == b"basic" and structures.is_basic(text)
        return Span(start, end, KEYWORD) if basic or values.is_token(text, quoted=True, uuid=True) else None
    if (
        not _is_secret(text, strength, literal, quoted=quoted)
        and not (
            strength == "password"
            and (
                (values.is_numbered(text) and not (spoken and len(separator.split()) > 1))
                or (quoted and literal == "passphrase" and phrases.is_passphrase(text, 0))
            )
        )
        and not (
            (strength == "password" or (strength == "token" and quoted and literal == "secret"))
            and separator
            and phrases.is_words(text)
        )
        and not (strength == "token" and not spoken and separator not in (b"", b"(", b",") and _is_given(text, literal))
    ):
        return None
    if not quoted and data[end : end + 1] in _JOINED and values.has_signs(text):
        rest = _DRAWN_ON.match(data, end)
        if rest is not None and _NAMED_BEHIND.search(rest[0]) is None:
            end = rest.end()
    if not quoted and end - start == JUDGED_MAX:
        rest = _BARE_REST.match(data, end)
        end = rest.end() if rest is not None else end
    return Span(start, end, KEYWORD)


_JOINED = (b",", b"|", b";", b"<", b">", b"`", b"]", b"}", b")", b"!", b"?", b":", b".")
_DRAWN_ON = re.compile(rb"[^\s\"'\\]{2,128}(?=\r?\n|\Z)")
"""What a generator drew where a value ends otherwise: to its line's end, where it is one run."""
_NAMED_BEHIND = re.compile(rb"\w[=:]|[|>)\]}`]\Z|</|&")
_OF_ANOTHER = re.compile(rb"(?i)(?:id|hash|sum|digest|commit|revision|version)\s?:?$")
"""`the key's BuildId: ...`"""
VALUE_MIN = 6
JUDGED_MAX = 256
"""Bytes of a value that are looked at to judge it."""
ASSIGNED_AGAIN = 14
"""`session=abc=...`: what is assigned again in so many characters is another name, unless its
letters and digits say otherwise.
"""


def _is_secret(text: str, strength: str, literal: str, *, quoted: bool) -> bool:
    if strength == "password":
        return values.is_password(text, quoted=quoted)
    again = not quoted and "=" in text[:ASSIGNED_AGAIN]
    if strength == "token":
        return not (again and not values.is_mixed(text)) and values.is_token(text, quoted=quoted, uuid=True)
    if again:
        return False
    if strength == "vendor":
        if values.is_uuid(text):
            return literal in _UUID_VENDORS
        if literal == "sumo" and re.fullmatch(r"su[A-Za-z0-9]{12}", text) and not values.is_random(text, 16):
            return any(c.isupper() for c in text) and any(c.isdigit() for c in text)
        return re.fullmatch(r"[\w\-+/=.~]+", text) is not None and values.is_random(text, 16, quoted=quoted)
    return values.is_random(text, 16, quoted=quoted)


def _is_told(text: str) -> bool:
    """Whether nobody would write this behind `password` but as one."""
    digits = sum(c.isdigit() for c in text)
    return (
        values.is_chosen(text)
        or values.is_numbered(text)
        or phrases.is_passphrase(text)
        or (digits > 1 and values.is_random(text, 8))
    )


def _is_given(text: str, literal: str) -> bool:
    """Whether people chose it to be a secret or a key, as they choose passwords."""
    if phrases.is_passphrase(text) or values.is_chosen(text):
        return True
    return literal in _CHOSEN_BY_PEOPLE and (phrases.is_words(text) or phrases.is_respelled(text))


_CHOSEN_BY_PEOPLE = frozenset({"secret", "credential", "salt", "passphrase"})


def _in_query(data: bytes, name_at: int) -> bool:
    """Whether the name stands in the query of a URL, so that `&` ends its value."""
    run = data[max(0, name_at - 200) : name_at]
    signs = max(run.rfind(b"?"), run.rfind(b"&"), run.rfind(b"#"))
    return signs >= 0 and _ENDS_A_RUN.search(run, signs) is None


_ENDS_A_RUN = re.compile(rb"[\s\"'`<>]")
_FALLBACK = re.compile(rb"(?:env|environ|get|fetch|define|set|default)\(\s{0,4}[\"']$", re.IGNORECASE)
"""`getenv("DB_PASSWORD", "..."`: what is used where nothing is set."""
_UUID_VENDORS = frozenset(
    (
        "heroku",
        "hubspot",
        "snyk",
        "squarespace",
        "sendbird",
        "messagebird",
        "message-bird",
        "message_bird",
        "kucoin",
        "launchdarkly",
    )
)
"""Theirs are UUIDs: `snyk = "..."` says enough."""
_MINE = (b"my", b"product", b"license", b"licence", b"api", b"access", b"secret", b"our")


def _stands_out(data: bytes, name_start: int, text: str, strength: str, *, quoted: bool) -> bool:
    """Whether a value after its name and a space can't be the next word of a sentence."""
    if strength == "weak":
        before = data[max(0, name_start - 12) : name_start].rsplit(None, 1)
        itself = data[name_start : name_start + 12].split(None, 1)[0]
        mine = itself.lower() in _MINE or (bool(before) and before[-1].lower() in _MINE)
        return (mine or quoted) and values.is_random(text, 20)
    if strength == "password" and quoted:
        verb = data[name_start : name_start + 5].lower() == b"pass "
        return values.is_chosen(text) or (
            not verb and values.is_password(text, quoted=True) and any(c.isdigit() for c in text)
        )
    if strength == "token" and quoted and values.is_uuid(text):
        return True
    return values.is_random(text, 8 if quoted else 20) or (strength == "password" and _is_told(text))


def _may_follow_space(data: bytes, name_start: int) -> bool:
    """Where a value may follow its name after a space: flags, Dockerfiles, .netrc."""
    head = data[name_start : name_start + 2]
    if head[:1] == b"-" or data[max(0, name_start - 2) : name_start] == b"--":
        return True
    return _LINE_STARTS.search(data, max(0, name_start - 160), name_start) is not None
