"""Secrets by the form that they stand in: URLs with passwords, Authorization headers, JWTs,
commands. Pure.

A row of RULES: literals in lower case, and what is tried where one stands.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator

from services.moderation.secrets import abroad, blocks, values
from services.moderation.secrets.spans import Found, Span

Rule = Callable[[bytes, int], Iterator[Found]]
"""(text, where the literal starts) -> what it found, and before each value that it judges None."""


_USERINFO = re.compile(rb"://(?P<user>[^\s:/@\"'`<>|]{0,128}|<[\w-]{1,40}>):(?P<s>[^\s/\"'`<>|]{1,256})@(?=[\w\[%$<.])")
_USERINFO_SLASH = re.compile(
    rb"://(?P<user>[^\s:/@\"'`<>|]{1,128}):(?P<s>[^\s@\"'`<>|]{6,128})@(?=[\w.-]+(?::\d|/|\.\w))"
)
_USER_ONLY = re.compile(rb"://(?P<s>[^\s:/@\"'`<>|?]{16,256})@(?=\w)")
_NO_PASSWORDS = frozenset(
    {"password", "pass", "passwd", "pwd", "secret", "pw", "p", "token", "user", "username", "x-oauth-basic", "port"}
)


def url_password(data: bytes, at: int) -> Iterator[Found]:
    found = _USERINFO.match(data, at) or _USERINFO_SLASH.match(data, at)
    if found is not None:
        yield None
        text = found["s"].decode("utf-8", "replace")
        if not (
            text.lower() in _NO_PASSWORDS
            or (text.isupper() and "_" in text and not any(map(str.isdigit, text)))
            or (values.is_placeholder(text) and not text.isdigit())
            or text[0] in "${<%[*"
        ):
            yield Span(found.start("s"), found.end("s"), "Basic Auth Credentials")
        if values.is_random(found["user"].decode("utf-8", "replace"), 20):
            yield Span(found.start("user"), found.end("user"), "Basic Auth Credentials")
        return
    alone = _USER_ONLY.match(data, at)
    if alone is not None:
        yield None
    if alone is not None and values.is_random(alone["s"].decode("utf-8", "replace"), 16):
        yield Span(alone.start("s"), alone.end("s"), "Basic Auth Credentials")


_CURL_USER = re.compile(
    rb"(?:-u|--user|--proxy-user)[ =]{0,2}(?P<q>[\"']?)(?P<user>[^\s:\"']{1,64}):(?P<s>[^\s\"']{3,128})"
)
_SMB_USER = re.compile(rb"-U[ =]?[\"']?[^\s%\"']{1,64}%(?P<s>[^\s\"']{4,128})")
_FLAG_P = re.compile(rb"-[pPaw][ =]?(?P<q>[\"']?)(?!\d?>)(?P<s>[^\s\"']{4,128})")
_COMMANDS = re.compile(
    rb"\b(?:login|sshpass|mysql\w*|mariadb\w*|mongo\w*|redis-cli|ldap\w+|htpasswd|smbclient|sqlcmd|az|7z|twine|zip|security|openssl|keytool|jarsigner)\b[^\n]*$"
)


def user_flag(data: bytes, at: int) -> Iterator[Found]:
    found = _CURL_USER.match(data, at + 1) or _SMB_USER.match(data, at + 1)
    if found is not None:
        yield None
        text = found["s"].decode("utf-8", "replace")
        if not values.is_placeholder(text) and text.lower() not in _NO_PASSWORDS and text[0] not in "${<%":
            yield Span(found.start("s"), found.end("s"), "Basic Auth Credentials")


def password_flag(data: bytes, at: int) -> Iterator[Found]:
    line = data.rfind(b"\n", max(0, at - 200), at) + 1
    if _COMMANDS.search(data, max(line, at - 200), at) is None:
        return
    yield None
    found = _FLAG_P.match(data, at + 1)
    if found is not None and values.is_password(found["s"].decode("utf-8", "replace"), quoted=bool(found["q"])):
        yield Span(found.start("s"), found.end("s"), "Secret Keyword")


_BEARER = re.compile(rb"(?:Bearer|Basic|bearer|basic|BEARER)[ \t]{1,3}(?P<s>[A-Za-z0-9._~+/=:-]{8,4096})")


def header(data: bytes, at: int) -> Iterator[Found]:
    found = _BEARER.match(data, at)
    if found is None:
        return
    yield None
    text = found["s"].decode().rstrip(".:")
    if data[at : at + 5].lower() == b"basic":
        if is_basic(text):
            yield Span(found.start("s"), found.start("s") + len(text), "Basic Auth Credentials")
    elif len(text) >= 16 and values.is_token(text, quoted=True, uuid=True):
        yield Span(found.start("s"), found.start("s") + len(text), "Bearer Token")


def is_basic(text: str) -> bool:
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return False
    return ":" in plain and plain.isprintable()


_JWT = re.compile(rb"eyJ[A-Za-z0-9_-]{8,4096}(?:\.[A-Za-z0-9_-]{6,16384}){1}(?:\.[A-Za-z0-9_-]{0,8192}){0,3}")


def jwt(data: bytes, at: int) -> Iterator[Found]:
    if at and (data[at - 1 : at].isalnum() or data[at - 1 : at] in (b"_", b"/", b"+")):
        return
    found = _JWT.match(data, at)
    if found is None:
        return
    yield None
    head = found[0].partition(b".")[0]
    try:
        plain = base64.urlsafe_b64decode(head + b"=" * (-len(head) % 4))
    except (binascii.Error, ValueError):
        plain = b""
    if b'"alg"' in plain or b'"typ"' in plain or b'"enc"' in plain or found[0].count(b".") >= 2:
        yield Span(at, found.end(), "JSON Web Token")


_JWK = re.compile(rb"\"(?:d|k|dp|dq|qi)\"\s{0,3}:\s{0,3}\"(?P<s>[A-Za-z0-9_-]{32,700})\"")


def jwk(data: bytes, at: int) -> Iterator[Found]:
    found = _JWK.match(data, at)
    if found is not None:
        yield None
    if found is not None and b'"kty"' in data[max(0, at - 3000) : at + 3000]:
        yield Span(found.start("s"), found.end("s"), "Private Key")


_LOGIN = re.compile(
    rb"(?:credentials?|creds|logins?|log in|sign in)(?: \w+){0,4}?(?: (?:with|is|are|as|using)|\s{0,2}[:=])\s{1,3}[\"'`(]{0,2}"
    rb"(?P<user>[\w.+@-]{2,64})[\"'`]?\s?[:/]\s?[\"'`]?(?P<s>[^\s\"'`,)]{6,128})",
    re.IGNORECASE,
)


def login(data: bytes, at: int) -> Iterator[Found]:
    """`credentials: admin / S3cr3t!`: a name, and behind it what looks chosen as a password."""
    found = _LOGIN.match(data, at)
    if found is None:
        return
    yield None
    text = found["s"].decode("utf-8", "replace").rstrip(".;:!?")
    signs = any(not c.isalnum() and c not in "-_./" for c in text)
    if values.is_password(text, quoted=False) and (signs or values.is_random(text, 8)):
        yield Span(found.start("s"), found.start("s") + len(text.encode()), "Secret Keyword")


_CREDENTIALS_ARE = re.compile(
    rb"(?:^|[\s\"'`(])[\w.@+-]{2,64}:(?P<s>[^\s\"'`]{8,128})[\"'`]? (?:are|is|as) (?:the|my|our) (?:\w{1,16} ){0,2}$"
)


def told_before(data: bytes, at: int) -> Iterator[Found]:
    """`ann:S3cr3t are the credentials`"""
    yield None
    found = _CREDENTIALS_ARE.search(data, max(0, at - 240), at)
    if found is not None and values.is_password(found["s"].decode("utf-8", "replace"), quoted=True):
        yield Span(found.start("s"), found.end("s"), "Secret Keyword")


_PAIR = re.compile(
    rb"auth\s{0,2}=\s{0,2}\(\s{0,4}[\"'][^\"'\n]{1,64}[\"']\s{0,2},\s{0,4}[\"'](?P<s>[^\"'\n]{4,128})[\"']"
)
_AUTH_OF = re.compile(
    rb"(?i:auth)[\"']?\s{0,2}[:=]\s{0,2}[\"']?[A-Za-z][\w.@-]{1,32}[/:](?P<s>[^\s\"'`,/:]{6,128})(?=[\s\"'`,]|$)"
)
"""`NEO4J_AUTH=neo4j/...`"""
_SQL = re.compile(
    rb"identified\s{1,4}(?:with\s{1,4}\S{1,40}\s{1,4})?by\s{1,4}(?:password\s{1,4})?[\"'](?P<s>[^\"'\n]{4,128})[\"']",
    re.IGNORECASE,
)
_INSERT = re.compile(
    rb"insert\s{1,4}into\s{1,4}[\w.\"`\[\]]{1,80}\s{0,4}\((?P<names>[^()\n]{1,400})\)\s{0,8}values\s{0,8}\((?P<rows>[^\n]{1,2000})",
    re.IGNORECASE,
)
_SQL_VALUE = re.compile(rb"\s*(?:'(?P<s>(?:[^']|'')*)'|[^,()']+(?:\([^()]*\))?)\s*(?P<next>[,)]?)")
_SQL_SECRET = re.compile(
    rb"(?:^|_)(?:pass(?:word|wd|phrase)?|pwd|secret|api_?key|(?:auth|access|api)_?token|token)$", re.IGNORECASE
)


def inserted(data: bytes, at: int) -> Iterator[Found]:
    """`INSERT INTO users (name, password) VALUES ('ann', 'Xk9..')`: a column says secret."""
    found = _INSERT.match(data, at)
    if found is None:
        return
    names = [name.strip(b' "`[]\n') for name in found["names"].split(b",")]
    wanted = {i for i, name in enumerate(names) if _SQL_SECRET.search(name)}
    here, column = found.start("rows"), 0
    while wanted and (value := _SQL_VALUE.match(data, here, found.end())) is not None and value.end() > here:
        yield None
        if column in wanted and value["s"] is not None:
            text = value["s"].decode("utf-8", "replace")
            if values.is_password(text, quoted=True):
                yield Span(value.start("s"), value.end("s"), "Secret Keyword")
        here, column = value.end(), column + 1
        if value["next"] != b",":
            again = re.compile(rb"\s*,\s*\(").match(data, here, found.end())
            if again is None:
                return
            here, column = again.end(), 0


_PIPED = re.compile(
    rb"(?:echo|printf)\s{1,4}(?:-n\s{1,4}|'?%s'?\s{1,4})?(?P<q>[\"']?)(?P<s>[^\s\"'|]{4,128})(?P=q)\s{0,4}\|\s{0,4}"
    rb"(?:sudo\s[^\n]{0,40}-\w{0,4}S|[^\n]{0,100}(?:--password-stdin|--with-token|--passphrase-fd|-pass stdin|passwd --stdin|chpasswd))"
)
"""A password that a command reads from its standard input."""


def piped(data: bytes, at: int) -> Iterator[Found]:
    found = _PIPED.match(data, at)
    if found is not None:
        yield None
        start = found.start("s")
        if found[0].endswith(b"chpasswd"):
            start += found["s"].find(b":") + 1
        if values.is_password(data[start : found.end("s")].decode("utf-8", "replace"), quoted=True):
            yield Span(start, found.end("s"), "Secret Keyword")


_COOKIES = re.compile(
    rb"(?:cookie:[ \t]{0,4}|[ ](?:-b|--cookie)[ =][\"'])(?P<pairs>[^\r\n\"':]{1,4096})", re.IGNORECASE
)
_COOKIE = re.compile(rb"(?P<name>[^\s=;,]{1,64})=(?P<s>[^\s;,]{16,4096})")
_COOKIES_OF_ANALYTICS = (b"_g", b"_fb", b"_hj", b"__utm", b"optanon", b"ajs_", b"amp_", b"_pk_")


def cookies(data: bytes, at: int) -> Iterator[Found]:
    """Of a header `Cookie` or `Set-Cookie`, whatever they are called."""
    found = _COOKIES.match(data, at)
    if found is None:
        return
    for pair in _COOKIE.finditer(data, *found.span("pairs")):
        yield None
        text = pair["s"].decode("utf-8", "replace")
        if not pair["name"].lower().startswith(_COOKIES_OF_ANALYTICS) and values.is_random(text, 16):
            yield Span(pair.start("s"), pair.end("s"), "Session Cookie")


_CODES = re.compile(
    rb"(?:recovery|backup)[ _-]codes?(?:[ ]\w{1,16}){0,4}?(?:[:=]|[ ](?:is|are))(?P<s>\s{0,4}(?:[\"'`\-*]|\d\.)?\s{0,4}[A-Za-z0-9])",
    re.IGNORECASE,
)
_CODE = re.compile(
    rb"[\s,;\"'`*\-]{0,8}(?:\d{1,2}[.)][ ])?(?P<s>[A-Za-z0-9]{4,8}(?:-[A-Za-z0-9]{4,8}){1,4}|[A-Za-z0-9]{8,64})(?![\w-])"
)
CODES_MAX = 32


def recovery_codes(data: bytes, at: int) -> Iterator[Found]:
    """One, or a list of them."""
    found = _CODES.match(data, at)
    here = found.start("s") if found is not None else len(data)
    for _ in range(CODES_MAX):
        code = _CODE.match(data, here)
        if code is None:
            return
        yield None
        if not values.is_mixed(code["s"].decode()):
            return
        yield Span(code.start("s"), code.end("s"), "Recovery Code")
        here = code.end()


_FOUR_TIMES_FOUR = re.compile(
    rb"(?i:app(?:lication)?[ _-]password[^\n]{0,24}?|\.login\([^\n]{0,80}?)\b(?P<s>(?:[a-z]{4} ){3}[a-z]{4})\b(?![ ]?[a-z])"
)
"""Google's, as it shows them."""
_FIRST_TOKEN = re.compile(rb"initial_management\"?\s{0,8}[:=]\s{0,8}\"(?P<s>[0-9a-f-]{36})\"")
"""Consul's, with all rights."""
_GOSSIP = re.compile(rb"\bencrypt\"?\s{0,8}[:=]\s{0,8}\"(?P<s>(?:[A-Za-z0-9+/]{22}=|[A-Za-z0-9+/]{43})=)\"")
"""What members of a Consul, Nomad or Serf cluster share."""
_CONNECT = re.compile(
    rb"connect\(\s{0,8}(?:[\"'][^\"'\n]{1,80}[\"']|[\w.]{1,40}),\s{0,8}[\"'][^\"'\n]{1,64}[\"'],\s{0,8}[\"'](?P<s>[^\s\"']{6,256})[\"']",
    re.IGNORECASE,
)
"""A host, a user, a password."""
_SAS = re.compile(rb"sig=(?P<s>[A-Za-z0-9%+/=_-]{24,300})")
_JWT_CALL = re.compile(
    rb"(?:jwt\.(?:(?:en|de)code|verify)|\.sign)\([^\n]{1,120}?,\s{0,8}[\"'](?P<s>[^\"'\n]{8,512})[\"']", re.IGNORECASE
)
_ABROAD = re.compile(
    rb"(?:[^\s:=!-~]|[a-z]){0,24}(?:[ ][^\s:=]{1,16}){0,4}?\s{0,2}(?:[:=]|\xef\xbc\x9a|(?:"
    + abroad.JOINTS.encode()
    + rb")|(?<=[\xe0-\xef].{2})|[ ](?:on|to|er|is|"
    + abroad.VERBS.encode()
    + rb")[ ])\s{0,3}(?:"
    + abroad.QUOTES.encode()
    + rb"|[\"'`])?(?P<s>[!#-&(-_a-~]{6,128})"
)
"""After another language's word for password: a colon, its `is`, or nothing (no spaces)."""
_ABROAD_KEY = re.compile(
    rb"(?:[^\s:=!-~]|[a-z]){0,32}(?:[ ][^\s:=]{1,16}){0,4}?\s{0,2}(?:[:=(]|\xef\xbc[\x9a\x88]|[ ]|(?<=[\x80-\xff]))\s{0,3}[\"'`(]?"
    rb"(?P<s>[A-Za-z0-9_\-+/.=~]{16,256})"
)
"""Behind a word for key: what is drawn by itself."""


def by(
    pattern: re.Pattern[bytes],
    at_end: int = 0,
    judge: Callable[[str], bool] = lambda text: values.is_password(text, quoted=True),
) -> Rule:
    """A rule of one pattern, matched `at_end` bytes behind where its literal starts."""

    def rule(data: bytes, at: int) -> Iterator[Found]:
        found = pattern.match(data, at + at_end)
        if found is not None:
            yield None
            text = found["s"].decode("utf-8", "replace")
            if data[found.end("s") : found.end("s") + 1] not in (b'"', b"'"):
                text = text.rstrip(".,;:!?)")
            if judge(text):
                yield Span(found.start("s"), found.start("s") + len(text.encode()), "Secret Keyword")

    return rule


_CALLED = re.compile(
    rb"(?:Fernet\(|to_pem\([^,\n\"']{1,40},\s{0,4}|SignedString\(\s{0,4}(?:\[\]byte\()?|hmac\.new\(|createHmac\([^,\n]{1,40},\s{0,4}|ConvertTo-SecureString\s{1,4}(?:-[a-z]{1,12}\s{1,4}){0,3}\\?|\.login\(\s{0,4}[\"'][^\"'\n]{1,64}[\"'],\s{0,4}(?:password=)?|getConnection\([^,\n]{1,160},\s{0,4}[\"'][^\"'\n]{1,64}[\"'],\s{0,4})"
    rb"[bru]{0,2}[\"'](?P<s>[^\s\"']{6,512})[\"']",
    re.IGNORECASE,
)
"""What a function is given that takes a secret there."""
_COMMANDED = re.compile(
    rb"(?:htpasswd (?:-\w{0,6}n\w{0,6} \S{1,64}+|-\w{0,6}b\w{0,6} \S{1,64}+ \S{1,64}+)|sentinel auth-pass \S{1,64}+|net user \S{1,64}+|bindpw|masterauth|rootpw(?: --plaintext)?|requirepass|(?:cargo|vault|wandb) login|vault operator unseal|rabbitmqctl (?:add_user|change_password) \S{1,64}+|net use \S{1,64}+ \S{1,200}+(?: /user:\S{1,64}+)?(?= )|ansible-vault encrypt_string|secret set [A-Z][A-Z0-9_]{2,60}(?= [^-])|mc alias set \S{1,64}+ \S{1,200}+ \S{1,64}+|auth-user-pass:? \S{1,64}+|WIFI:\S{1,80};P:) ?[\"']?(?P<s>[^\s\"'/*()|][^\s\"']{5,127})"
)
_PGPASS = re.compile(rb":\d{2,5}:[^\s:]{1,64}:[^\s:]{1,64}:(?P<s>[^\s:\"']{4,128})(?=\s|$)")
COMMANDS = (
    "htpasswd -", "net user ", "bindpw ", "rootpw ", "masterauth ", "requirepass ", "cargo login", "vault login", "vault operator unseal", "wandb login", "rabbitmqctl ", "net use ",
    "mc alias set", "auth-user-pass", "wifi:", "sentinel auth-pass", "ansible-vault encrypt_string", "secret set ",
)  # fmt: skip

_AWS_SECRET = re.compile(rb"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")


def beside_aws_id(data: bytes, end: int) -> Iterator[Span]:
    """A secret access key within a few words behind its id, named or not."""
    for found in _AWS_SECRET.finditer(data, end, end + 200):
        if values.is_random(found[0].decode(), 40) and not re.fullmatch(rb"[0-9a-f]{40}", found[0]):
            yield Span(found.start(), found.end(), "AWS Secret Key")
            return


RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    *(((word,), by(_ABROAD, len(word.encode()))) for word in abroad.PASSWORDS),
    *(((word,), by(_ABROAD_KEY, len(word.encode()), lambda text: values.is_random(text, 16) and not values.is_of_code(text))) for word in abroad.KEYS),
    (("auth",), by(_PAIR)),
    (("auth",), by(_AUTH_OF, judge=lambda text: values.is_password(text, quoted=False))),
    (("fernet(", "signedstring(", "to_pem(", "hmac.new(", "createhmac(", "convertto-securestring", ".login(", "getconnection("), by(_CALLED)),
    (COMMANDS, by(_COMMANDED)),
    ((":5432:", ":3306:"), by(_PGPASS)),
    (("ls0tls1crudjti",), blocks.encoded_key),
    (("identified",), by(_SQL)),
    (("insert into",), inserted),
    (("echo ", "printf "), piped),
    (("sig=",), by(_SAS, judge=lambda text: values.is_random(text, 24))),
    (("jwt.encode(", "jwt.decode(", "jwt.verify(", ".sign("), by(_JWT_CALL, judge=lambda text: values.is_random(text, 12))),
    (("credentials", "creds", "login"), told_before),
    (("-----begin ", "---- begin "), blocks.private_key),
    (blocks.KEY_BEGINNINGS, blocks.bare_key),
    (("private-lines:",), blocks.putty_key),
    (("initial_management",), by(_FIRST_TOKEN, judge=values.is_uuid)),
    (("connect(",), by(_CONNECT, judge=lambda text: values.is_password(text, quoted=False) or values.is_uuid(text))),
    (("encrypt",), by(_GOSSIP, judge=lambda text: values.is_random(text, 22))),
    (("recovery code", "recovery_code", "recovery-code", "backup code", "backup_code", "backup-code"), recovery_codes),
    (("app password", "app_password", "app-password", "application password", ".login("), by(_FOUR_TIMES_FOUR, judge=lambda text: True)),
    (("://",), url_password),
    ((" -u", " --user", " --proxy-user"), user_flag),
    ((" -p", " -a ", " -w "), password_flag),
    (("bearer ", "basic "), header),
    (("eyj",), jwt),
    (("cookie:", " -b \"", " -b '", " --cookie "), cookies),
    (('"d"', '"k"', '"dp"', '"dq"', '"qi"'), jwk),
    (("mnemonic", "seed phrase", "seed_phrase", "recovery phrase", "backup phrase", "secret phrase", "seed words"), blocks.seed_phrase),
    (("credentials", "creds", "login", "log in", "sign in"), login),
)  # fmt: skip
