"""Where a text is worth looking at: a name of a secret, and behind it what may be a value. Pure.

Texts are full of `key` and `token`, and hold no secret near them. The rules judge a place in some
ten microseconds, which is more than a whole kilobyte may cost: so a linear automaton (RE2, 2 ns a
byte and pattern) finds the places first. A pattern here takes in more than its rule: what a rule
would find is always inside a region (a test compares with looking everywhere), and what is in a
region is only looked at. Counted repeats are left open where a count would make the automaton
large.
"""

import re
from collections.abc import Iterable

from services.moderation.secrets import abroad, assigned, blocks, columns, places, structures, words
from services.moderation.secrets.linear import compiled

_BLANKS = r"\t-\r "
_BLANK = f"[{_BLANKS}]"
_BACKSLASH = _BLANKS + r"\\"
_LETTER = r"[A-Za-z\x80-\xff]"
_CALM = r"A-Za-z0-9\t-\r \-_./:!?,;"
"""What a run of words may hold; a password of letters alone has another sign."""


def _any(words: Iterable[str]) -> str:
    return "(?:" + "|".join(map(re.escape, map(_bytes, words))) + ")"


def _bytes(word: str) -> str:
    """In the letters of an automaton that reads bytes."""
    return word.encode().decode("latin-1")


def _hard(ends: str, *more: str) -> str:
    """The beginning of a value that may be a secret: letters and digits mixed, or what `more` says
    (R: any character of a value).

    Args:
        ends: the characters that end a value.
    """
    inside = f"[^{ends}]"
    mixed = (f"R*?{_LETTER}R*?[0-9]", f"R*?[0-9]R*?{_LETTER}")
    return "(?:" + "|".join((*more, *mixed)).replace("R", inside).replace("ENDS", ends) + ")"


def _drawn(length: int) -> str:
    """A run without any sign of assignment: drawn letters, a long number."""
    return rf"[^ENDS=]{{{length}}}"


_SCHEME = r"(?:(?:bearer|basic|token|apikey|key|splunk|ssws|bot)[ \t]+)?"
_ANY_SIGNS = f"R{{{assigned.ASSIGNED_AGAIN}}}"
"""A run, with signs of assignment or without."""
_SCHEMED = (
    r"""[\\"'`]*(?:basic[ \t]+[A-Za-z0-9+/]{8}|(?:basic|bearer|bot|ssws|splunk)[ \t]+"""
    + _hard(_BLANKS, _ANY_SIGNS)
    + ")"
)
"""`auth = Bearer ...`: enough behind any name."""


_OPENED = rf"(?:[\[({{]{{1,2}}{_BLANK}*)?(?:{_bytes(abroad.QUOTES)})?(?:[a-z_][\w.:]*\((?:[^()\n\"'`]*\(){{0,2}}(?:[^()\n\"'`]*default ?= ?|[\"'][\w.\-]+[\"'], ?(?:default ?= ?)?)?)?[\"']?[fbru@$]{{0,3}}"
"""What may stand before a value: another language's quote, a call, a quote before the escaped one,
a literal's prefix.
"""


def _value(*more: str) -> str:
    """A value as `assigned` reads it, in quotes or not."""
    quoted = "|".join(rf"{q}{_SCHEME}{_hard(_BLANKS + q, _ANY_SIGNS, *more)}" for q in ('"', "'", "`"))
    bare = _hard(_BLANKS + r"\"'`,;<>|\\", *more)
    escaped = rf"\\+[\"'`]{_SCHEME}{_hard(_BACKSLASH, _ANY_SIGNS, *more)}"  # a plain quote is a character of it
    return rf"{_OPENED}(?:\\*(?:{quoted})|{escaped}|&quot;{_SCHEME}{_hard(_BLANKS, _ANY_SIGNS, *more)}|{_SCHEME}{bare}|{_SCHEMED})"


def _long(length: int) -> str:
    """A value of at least so many characters, whatever they are."""
    run = "|".join(rf"\\*{q}{_SCHEME}[^{_BLANKS}{q}]{{{length}}}" for q in ('"', "'", "`"))
    bare = rf"[^{_BLANKS}\"'`,;<>|\\=]{{{length}}}"
    escaped = rf"\\+[\"'`]{_SCHEME}[^{_BACKSLASH}]{{{length}}}"
    return rf"{_OPENED}(?:{run}|{escaped}|&quot;{_SCHEME}\S{{{length}}}|{_SCHEME}{bare}|{_SCHEMED})"


_PASSWORD = (
    _drawn(12), "(?-i:R*?[a-z]R*?[A-Z])", "[0-9]{6}", rf"R*?[^{_CALM}ENDS]", "R*?[!?,;:]R", r"[\-_./]R{5}",
    r"R*?[\-_./][\-_./!?,;:]", r"R{5}R*?[\-_/][ENDS]",
)  # fmt: skip
_TOKEN = (_drawn(assigned.ASSIGNED_AGAIN),)

_TAIL = r"[A-Za-z0-9_\-]*"
_SPACE = r"(?:[ \t]|\xc2\xa0|\\t)"
_CLOSED = r"""\\*["'`*]*(?:\[\d*\])?[\])]?"""
_TYPED = r"(?: As String| *: *(?:str|string|SecretStr|&'?\w*[ ]?str|Final(?:\[str\])?|Optional\[str\]) *)?"
_ASSIGNED = (
    rf"{_CLOSED}(?:{_TYPED}{_SPACE}*(?:%3d|=>|:=|\?=|\|\|=?|&&=|\?\?=?|===?|=|:-|:{{1,2}}|->|\xe2\x86\x92|\xef\xbc\x9a|\{{)(?:\*\*|__)?{_SPACE}*(?:[>|][+-]?)?(?:\\?\r?\n[ \t]*(?:- )?)?"
    rf"""|(?:{_BLANK}|\\n|,|\n#)+(?:- )?(?:\\*["'])?(?:value|content)(?:\\*["'])?{_BLANK}*[:=]{_BLANK}*"""
    rf"| (?:--body[ =]|-b ?|<<< ?)|, *(?:\w+=[^,\n]*, *){{0,3}}default ?= ?|(?: [\w:]+=[\"'][^\"'<>\n]*[\"'])+>{_BLANK}*"
    rf"|[\"']?: *\r?\n(?: +(?:Type|NoEcho|Description|MinLength|MaxLength|AllowedPattern|ConstraintDescription):[^\n]*\n)+ +Default: +"
    rf"|\)?\.(?:send_?keys|fill|type|set_?value)\({_BLANK}*|(?:</\w+)?>{_BLANK}*<\w+(?: [^<>\n]+)?>{_BLANK}*|\?\r?\n(?:[\w .@\-]+: )?"
    rf"|{_BLANK}*\{{{_BLANK}+(?:[a-z_]+ *=[^\n]*\n{_BLANK}*)*default *= *"
    rf"|[ \t]*[(,|][ \t]*| *:?\r?\n *|>{_BLANK}*|[ \t]+)"
)
_SPOKEN = (
    rf"""["'`*]*(?:[ \x80-\xff]*(?:\xef\xbc\x9a|[\x80-\xff]:)[ ]*|(?:[ ][\w'/()\-]+)*[ ]?(?:{_bytes(abroad.JOINTS)})[ ]?"""
    rf"""|(?:,[ ](?:which|that|it))?(?:[ ][\w\x80-\xff'/()\-]+)*[ ](?:is|was|are|equals|reads|to|as|{_bytes(abroad.VERBS)})(?:[ ](?:now|currently|still|set to|this))?[ ]*:?[ ]+"""
    r"""(?:\r?\n)?|(?:[ ][\w\x80-\xff'/()\-]+)+[ ]?:[ ]+)"""
)
_VALUE_IS = rf"(?:[:=]|\xef\xbc\x9a|{_bytes(abroad.JOINTS)}|[\x80-\xff]|[ ](?:on|to|er|is|{_bytes(abroad.VERBS)})[ ])"

_PASSWORDS = [word for word in words.LITERALS if word.startswith(("pas", "pw", "ps", "mdp"))]
_TOKENS = ["secret", "token", "auth", "credential", "connectionstring", "connection_string", "conn_str"]
_WEAK = [word for word in words.LITERALS if word not in (*_PASSWORDS, *_TOKENS, "key")]
_STRONG_KEY = "(?:" + "|".join(word.replace("key", r"[_.$\- ]*key[_.$\-]*") for word in words.STRONG_KEYS) + ")"
_VENDORS_KEY = rf"{_any(words.VENDORS)}[A-Za-z0-9_.$\-]*?key"
_ASCII_ENDS = r"\x00-\x20\x7f-\xff\"'`"

_QUOTES = _BLANKS + "\"'"
_CLOSING = _QUOTES + "`,)"
_IN_HEADER = r"""[\w\x80-\xff .*`/\-"',;|\t\r]"""
"""What may stand in a line that says what stands below it (columns.py)."""
_IN_CELL = r"""[\w\x80-\xff.*`/\-"']"""
_CELL = (
    rf"""[ \t\r`*"']*(?:{_IN_CELL}*[ ])?{_IN_CELL}*{_any(columns.NAMES)}{_IN_CELL}*(?:[ ]{_IN_CELL}*)?[ \t\r`*"']*"""
)
"""One that says secret, in a word or two."""

_AFTER_PASSWORD = rf"{_any(_PASSWORDS)}{_TAIL}(?:{_ASSIGNED}|{_SPOKEN}){_value(*_PASSWORD)}"
_AFTER_TOKEN = rf"(?:{_any(_TOKENS)}|{_STRONG_KEY}){_TAIL}{_ASSIGNED}{_value(*_TOKEN)}"
_AFTER_VENDOR = rf"{_VENDORS_KEY}{_ASSIGNED}{_value(*_TOKEN)}|(?:key|{_any((*_WEAK, *words.VENDORS))}{_TAIL}){_ASSIGNED}{_long(assigned.ASSIGNED_AGAIN)}"
_SAID = (
    rf"(?:{_any(['secret', 'token', 'credential'])}[A-Za-z]*|{_STRONG_KEY}[A-Za-z]*|{_VENDORS_KEY}){_SPOKEN}{_value(*_TOKEN)}"
    rf"|(?:key|pin)[A-Za-z]*{_SPOKEN}{_long(assigned.ASSIGNED_AGAIN)}"
)
_BEFORE_ITS_NAME = (
    rf"[0-9][^{_BLANKS}]*(?: (?:as|is|for|=) (?:the|my|our|its|his|her|your|a|an) (?:[\w'-]+ )*| as (?:\w+ )?| an? (?:\w+ )?){_any(sorted(assigned.SPOKEN))}"
    rf"""|:[^{_BLANKS}"'`]{{8,}}["'`]? (?:are|is|as) (?:the|my|our) (?:\w+ )*(?:credentials|creds|login)"""
)
_STRUCTURES = "|".join(
    (
        rf"{_any(abroad.KEYS)}(?:[^{_BLANKS}:=!-~]|[a-z])*(?:[ ][^{_BLANKS}:=]+)*{_BLANK}*(?:[:=(]|\xef\xbc[\x9a\x88])?{_BLANK}*[\"'`(]?"
        + _hard(_ASCII_ENDS, "R{20}"),
        rf"{_any(abroad.PASSWORDS)}(?:[^{_BLANKS}:=!-~]|[a-z])*(?:[ ][^{_BLANKS}:=]+)*{_BLANK}*(?:{_VALUE_IS})?{_BLANK}*(?:{_bytes(abroad.QUOTES)}|[\"'`])?"
        + _hard(_ASCII_ENDS, *_PASSWORD),
        rf"auth{_BLANK}*={_BLANK}*\({_BLANK}*[\"']",
        rf"auth[\"']?{_BLANK}*[:=]{_BLANK}*[\"']?[a-z][\w.@-]+[/:]{_hard(_QUOTES, *_PASSWORD)}",
        rf"identified{_BLANK}+(?:with|by){_BLANK}",
        rf"insert into{_BLANK}+[^{_BLANKS}(]+{_BLANK}*\([^()\n]+\){_BLANK}*values{_BLANK}*\(",
        rf"(?:echo|printf) {_BLANK}*(?:-n{_BLANK}+|'?%s'?{_BLANK}+)?[^{_BLANKS}|]+{_BLANK}*\|[^\n]*(?:sudo{_BLANK}|-stdin|--with-token|--passphrase-fd|-pass |passwd --stdin|chpasswd)",
        rf"(?:fernet\(|to_pem\([^,\n]+,{_BLANK}*|signedstring\({_BLANK}*(?:\[\]byte\()?|hmac\.new\(|createhmac\([^,\n]+,{_BLANK}*|convertto-securestring{_BLANK}+(?:-[a-z]+{_BLANK}+)*\\*|\.login\({_BLANK}*[\"'][^\"'\n]+[\"'],{_BLANK}*(?:password=)?|getconnection\([^,\n]+,{_BLANK}*[\"'][^\"'\n]+[\"'],{_BLANK}*)"
        rf"[bru]?[\"']?{_hard(_QUOTES, *_PASSWORD)}",
        _any(structures.COMMANDS),
        rf"<th\b[^<>]*>(?:[^<]|</?[^/t]|</?t[^dhr]|</?t[dhr]\w)*?{_any(columns.NAMES)}",
        rf"\n(?:{_IN_HEADER}*?[|\t;,]{_CELL}(?:[|\t;,]{_IN_HEADER}*)?|{_CELL}[|\t;,]{_IN_HEADER}*)\n",
        rf":thin:[a-z0-9_]+/| on >{_hard(_QUOTES, *_PASSWORD)}|chpasswd:{_BLANK}+list:|(?:password|secret) [0-9] {_hard(_QUOTES, *_PASSWORD)}"
        rf"|(?:\n|> )auth [^{_BLANKS}]+ {_hard(_QUOTES, *_PASSWORD)}|\nuser [^{_BLANKS}]+ {_hard(_BLANKS, *_PASSWORD)}",
        r"passw(?:or)?d(?:[ ][\w'@.-]+)?(?:[ ][\w'@.-]+)?[: ?]*[\"']\)?;?[ \t]*\r?\n?[ \t]*(?:[a-z_]\w*\.)?send",
        rf"(?:passw(?:or)?d|passphrase|pwd) from [\"'`]?{_hard(_CLOSING, *_PASSWORD)}",
        rf"\n(?:[^{_BLANKS}$#>%]+ ?)?[$#>%] (?:[^\n]* )?(?:kubectl|oc|vault|aws|az|gcloud|op|pass|bw|doppler) [^\n]*(?:passw|secret|token)",
        _any((*places.MAKE, "sqlplus ", "random_password")),
        rf"twilio[^\n(]*\([^,\n]+,{_BLANK}*[\"'][0-9a-f]{{32}}",
        _any(blocks.KEY_BEGINNINGS),
        rf":[0-9]{{2,5}}:[^{_BLANKS}:]+:[^{_BLANKS}:]+:{_hard(_QUOTES, *_PASSWORD)}",
        "ls0tls1crudjti",
        r"sig=[A-Za-z0-9%+/=_-]{24}",
        rf"(?:jwt\.(?:(?:en|de)code|verify)|\.sign)\([^\n]+,{_BLANK}*[\"']",
        rf"connect\({_BLANK}*(?:[\"'][^\"'\n]+[\"']|[\w.]+),{_BLANK}*[\"'][^\"'\n]+[\"'],{_BLANK}*[\"'][^{_BLANKS}\"']{{6}}",
        r"-{4,5} ?begin (?:(?:[a-z0-9]+ )*private key|openvpn static)",
        rf"(?:cookie:[ \t]*| (?:-b|--cookie)[ =][\"'])(?:[^{_BLANKS}\"';]*;[ ])*[^{_BLANKS}=;,\"']+=[^{_BLANKS};,\"']{{16}}",
        r"private-lines: \d",
        rf"(?:encrypt\"?{_BLANK}*[:=]{_BLANK}*\"[A-Za-z0-9+/]{{22}}|initial_management\"?{_BLANK}*[:=])",
        rf"(?:recovery|backup)[ _-]codes?(?: \w+)*(?:[:=]| are| is){_BLANK}*(?:[\"'`\-*]|[0-9]+\.)?{_BLANK}*[A-Za-z0-9]{{4,}}",
        r"(?:app(?:lication)?[ _-]password|\.login\()[^\n]*[a-z]{4} [a-z]{4} [a-z]{4} [a-z]{4}",
        rf"""://(?:<[\w-]+>:)?[^{_BLANKS}"'`<>|]*?@""",
        rf"""(?: -u| --user| --proxy-user)[ =]{{0,2}}["']?[^{_BLANKS}:"']+:[^{_BLANKS}"']{{3}}""",
        rf"""(?-i: -U)[ =]?["']?[^{_BLANKS}%"']+%[^{_BLANKS}"']{{4}}""",
        rf" -[paw][ =]?[\"']?{_hard(_QUOTES, *_PASSWORD)}",
        rf"bearer[ \t]+{_hard(_BLANKS, _ANY_SIGNS)}|basic[ \t]+[A-Za-z0-9._~+/=:-]{{8}}",
        r"eyj[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{6}",
        rf'"(?:d|k|dp|dq|qi)"{_BLANK}*:{_BLANK}*"[A-Za-z0-9_-]{{32}}',
        rf"(?:mnemonic|(?:seed|recovery|backup|secret)[ _-]?(?:phrase|words))[\"']?(?:[ ]\w+)*{_BLANK}*(?:[:=]|is){_BLANK}*[\"'`]?"
        r"(?:[a-z]{3,8}[ ,\n]+){3}",
        rf"(?:credentials?|creds|logins?|log in|sign in)(?:[ ]\w+)*(?:[ ](?:with|is|are|as|using)|{_BLANK}*[:=]){_BLANK}+[\"'`(]*"
        rf"[\w.+@-]{{2,}}[\"'`]?{_BLANK}?[:/]{_BLANK}?[\"'`]?{_hard(_CLOSING, *_PASSWORD)}",
    )
)  # fmt: skip
"""One for each rule of structures.py whose literal stands in ordinary texts, too."""

MEMORY_BYTES_MAX = 32 * 1024 * 1024
"""Of one automaton, whose states are made as texts need them. With half of it, texts full of names
have the states made again and again.
"""


_GATES = [
    compiled(pattern, memory_bytes_max=MEMORY_BYTES_MAX)
    for pattern in (f"{_AFTER_PASSWORD}|{_SAID}|{_BEFORE_ITS_NAME}", f"{_AFTER_TOKEN}|{_AFTER_VENDOR}", _STRUCTURES)
]
"""Three passes. An automaton of more of them at once has so many states on real text (code,
documentation) that it makes them anew for each byte, ten times slower; each alone would read the
text six times.
"""


CALM_WINDOW = 65_536
"""What windows share is read twice, so they are wide where matches are few."""
CALM_MATCHES_MAX = 64
WINDOW = 16_384
AHEAD = 5_120
"""Further than any rule reads from its name to where its value shows that it may be one. A match is
certain only when what would be a better one has failed, however far that goes on: without an end to
it, a text of many short matches would be read to its end for each of them."""
CONTEXT = 2
"""Bytes that a pattern may read before its literal. Where one match ends, they may belong to the
next, too.
"""


def regions(data: bytes) -> list[tuple[int, int]]:
    """Sorted, none overlapping another: a rule's literal that gives something away begins in one of
    them.
    """
    found = []
    # So that a line's beginning is found at the text's, and a value's end at its end, without
    # assertions, which are slow.
    data = b"\n" + data + b"\r"
    for gate in _GATES:  # one after the other: each has more states than stay near the processor
        begin, window = 0, CALM_WINDOW
        while begin < len(data):
            piece = data[begin : begin + window + AHEAD]
            at = matches = 0
            while (
                match := gate.search(piece, at)
            ) is not None and match.start() < window:  # or it is the next window's
                start, end = match.span()
                found.append((max(0, begin + start - 1), begin + end - 1))
                at = max(start + 1, end - CONTEXT)
                matches += 1
                if matches > CALM_MATCHES_MAX and window > WINDOW:
                    break
            else:
                begin += window
                continue
            begin, window = begin + at, WINDOW
    found.sort()
    merged: list[tuple[int, int]] = []
    for start, end in found:
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
