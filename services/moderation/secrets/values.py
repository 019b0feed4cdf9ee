"""Is a value that stands where a secret may stand one? Pure.

A secret looks drawn, not written: letters and digits mixed, or case that no word has. What a
program or a person writes there otherwise (names, words, calls, references, examples) must stay.
"""

import itertools
import math
import re
import string
from functools import lru_cache

from services.moderation.secrets import phrases
from services.moderation.secrets.linear import compiled

VALUE_MAX = 4_096
REMEMBERED_MAX = 256
"""Values whose looks are remembered, until `forget`: several rules ask about one."""

_PLACEHOLDER = compiled(
    r"x{4,}|\*{3,}|\.{3}|\xe2\x80\xa6|(?:\xe2\x80\xa2){3}|_{5,}|(?:^|[^a-z])(?:your|my|some|insert|enter|replace|put)[-_ ]?(?:own[-_ ])?[\w\x80-\xff-]*(?:key|token|secret|pass|here)"
    r"|(?:^|[^a-z])example|placeholder|changeme|change[-_]me|redacted|dummy|<[\w\x80-\xff .:/|-]*>|\{[a-z_][\w.]*(?:\(\))?\}|\{\{|\$\{|\$\(|%\([\w.]+\)|#\{|\bnot[-_]?set\b|\bto[-_]?do\b|\btbd\b|fake[-_]"
    r"|os\.environ|process\.env|getenv|import\.meta|secrets\.|env\(|vault:|ref\+|!ref|!sub|ssm:|^arn:|^projects/|^env:",
)
"""RE2: forty alternatives in one pass."""
_NOT_ONE = re.compile(
    r"#[0-9a-f]{3,8}$|!(?:vault|secret|env|var|include|join|getatt|sub|ref)(?:_[a-z]+)*\b|(?:https?|ftp|file|s3|gs|wss?|urn|mailto|tel|data|sha(?:1|256|384|512)|md5|docker|git|ssh|oci)[:-]|\\\\|[a-z]:\\|\./|\$|%(?![0-9a-f]{2})|@\w+/|--[a-z]+(?:-[a-z]+)*(?:[ =]|$)",
    re.IGNORECASE,
)
_HASHED = re.compile(r"\$?(?:pbkdf2|bcrypt|argon2|scrypt|sha\d+|md5|2[aby]|[156])[\w-]{0,16}\$|Ag[AB][A-Za-z0-9+/]{80}")
"""A password's hash, as it is stored; what a cluster's key has sealed."""
_PATH = re.compile(r"(?:\.{0,2}|~\w{0,20})/|[\w.-]+/[\w./-]*/[\w-]+\.[a-z]{2,4}$")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{32,}={0,2}")
_PATTERN = re.compile(r"\[?:[a-z]{4,6}:\]|\[\^?\\?[a-zA-Z0-9]-|\.[+*]|\{\d+,?\d*\}|\\[dws]\b|\(\?|\\x[0-9a-f]{2}-")
_DATE = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ][\d:.]+(?:Z|[+-]\d\d:?\d\d)?)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d\d:\d\d(?::\d\d)?"
)
_VERSION = re.compile(r"[~^>=<v]{0,2}\d+(?:\.\d+){1,3}(?:[-+.][\w.]+(?:-g[0-9a-f]{7,40})?)?")
_CASE_NUMBER = re.compile(
    r"[A-Z]{1,6}[-/_]?(?:19|20)\d\d[-/_]?[A-Z]?\d{2,8}|GHSA(?:-[0-9a-z]{4}){3}|[A-Z]{2,10}-\d{1,8}(?:-\d{1,8})?"
)
"""`AZ-2026-118734`: an authority's, a support's, an advisory's."""
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_NUMBER = re.compile(
    r"[-+]?(?:\d[\d_,.]*|0x[0-9a-f]{1,16})(?:e[-+]?\d+)?(?:px|em|rem|ms|s|m|h|d|kb|mb|gb|%)?", re.IGNORECASE
)
_DATED = re.compile(r"[-_.:@](?:19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d(?!\d)")
_PIECES = re.compile(r"[-_./:@#,;+ \\]+")
_HUMPS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*(?:(?:\.|\?\.|::|->)[A-Za-z_$][\w$]*)*")
_JOINTS = re.compile(r"\.|::|->")
_HEX = re.compile(r"[0-9a-fA-F]+")


def entropy(value: str) -> float:
    """Shannon's, in bits a character."""
    n = len(value)
    return math.log2(n) - sum(count * math.log2(count) for count in map(value.count, set(value))) / n


@lru_cache(maxsize=REMEMBERED_MAX)
def is_placeholder(value: str) -> bool:
    return (
        _PLACEHOLDER.search(value.encode("utf-8", "surrogatepass")) is not None
        or len(set(value)) <= 2
        or _is_sequence(value)
    )


def _is_sequence(value: str) -> bool:
    """`12345678`, `abcdefgh`: what people write to have something there."""
    steps = (ord(b) - ord(a) for a, b in itertools.pairwise(value))
    return (len(value) >= 6 and all(step == 1 for step in steps)) or value.lower() in (
        "1234567890",
        "0123456789",
        "abc123",
        "test1234",
        "password1",
    )


def is_uuid(value: str) -> bool:
    return _UUID.fullmatch(value) is not None


def is_password(value: str, *, quoted: bool) -> bool:
    """Behind a name that says password: short ones too, if they look chosen as one."""
    if not 6 <= len(value) <= VALUE_MAX or _PLAIN.fullmatch(value):
        return False
    if value.isascii() and value.isdigit():
        return not is_placeholder(value)
    if _is_other(value, quoted=quoted):
        return False
    digits, letters, signs = _classes(value)
    if " " in value:
        return False
    if digits and letters and any(c in "!@#$%^&*+?~=" for c in value):
        return quoted or not _ASSIGNS.match(value)
    if digits and letters:
        return (
            quoted
            or _CHOSEN.search(value) is not None
            or not _is_name(value)
            or phrases.is_passphrase(value)
            or phrases.is_respelled(value)
        )
    if signs and letters and not re.fullmatch(r"[A-Za-z]+(?:[-_./: ][A-Za-z]+)*[.!?,:;]?", value):
        return quoted or not _IDENTIFIER.match(value) or any(c in "!@#$%^&*+?~=" for c in value)
    return is_drawn(value, 8 if value.isalpha() and not (value.islower() or value.isupper()) else 12)


_ASSIGNS = re.compile(r"(?=[\w.\-]*[aeiouyAEIOUY])[A-Za-z_$][\w.\-]*=(?!=*$)")
"""`user=ann`: a word of its own before the sign."""
_CHOSEN = re.compile(r"^[A-Za-z]+\d+[A-Za-z\d]*[!?.]?$|[A-Za-z]{2}[013457][A-Za-z]|[A-Za-z][-_]\d{4,}$")
"""`letmein99`, `adm1n_root`, `pg_main_4471`"""
_NUMBERED_WORD = re.compile(r"[A-Za-z]{3,}\d{3,}(?![A-Za-z\d])|[A-Za-z][-_.]\d{4,}(?![A-Za-z\d])")


def is_numbered(value: str) -> bool:
    """`Dragon-Pepper7698`: words with a number of three digits or more, as people choose passwords
    (and name standards and errors).
    """
    plain = _DATED.sub("", value)
    return (
        8 <= len(value) <= 64
        and _NUMBERED_WORD.search(plain) is not None
        and not phrases.NUMBERS_OF.search(value)
        and not any(word.lower() in phrases.TECHNICAL for word in re.findall(r"[A-Za-z]+", value))
        and not _is_other(value, quoted=True)
        and " " not in value
    )


def is_chosen(value: str) -> bool:
    """A password that nobody would write for anything else: letters, digits and a sign."""
    digits, letters, _ = _classes(value)
    signs = any(c in "!@#$%^&*+?~" for c in value)
    return 8 <= len(value) <= 64 and bool(digits and letters and signs) and is_password(value, quoted=True)


def is_token(value: str, *, quoted: bool, uuid: bool = False, length_min: int = 8) -> bool:
    """Behind a name that says token, secret or API key."""
    if not length_min <= len(value) <= VALUE_MAX or " " in value or _PLAIN.fullmatch(value):
        return False
    if _is_other(value, quoted=quoted):
        return False
    if is_uuid(value):
        return uuid
    digits, letters, _ = _classes(value)
    if digits and letters:
        return not _is_name(value)
    if not letters and digits:
        return len(value) >= 16
    return is_drawn(value, 16)


def is_drawn(value: str, length_min: int) -> bool:
    """Letters (and signs) without digits that no words are made of."""
    letters = "".join(c for c in value if c.isalpha())
    if _is_name(value):
        return False
    if len(letters) < length_min or not letters.isascii():
        return False
    turns = sum(a.isupper() != b.isupper() for a, b in itertools.pairwise(letters))
    if turns >= len(letters) * (0.3 if len(letters) >= 12 else 0.4):
        return True
    if letters.islower() or letters.isupper():
        vowels = sum(c in "aeiouAEIOU" for c in letters) / len(letters)
        low = letters.lower()
        if len(low) >= 20 and sum(low[i : i + 2] in _USUAL for i in range(len(low) - 1)) < 0.42 * (len(low) - 1):
            return True
        return entropy(letters) > 3.4 and phrases.CONSONANTS.search(letters) is not None and vowels < 0.3
    return phrases.CONSONANTS.search(letters) is not None and turns >= 4


_USUAL_PAIRS = (
    "th he in er an re nd at on nt ha es st en ed to it ou ea hi is or ti as te et ng of al de se le sa si ar ve ra ld ur ll ss ee tt ff pp nn "
    "oo ri ro li ic io ne me ce co ta la ma no ec ch ca om el di us ac ns un em ad ut so tr wh ho ow we be ge ai pe id ol ie po pr mo su ct im "
    "op ul ir ev wi do fo bl pl br cr gr fr sp sh ke ck ab am ag ap av ov iv ig if il ip ep ex ay ey aw ew au ue ui qu ly ty ry ny my by ts rs "
    "ds ls ms ys ks gs rt rd rn rm rk ry lt ld lk ft pt rv fi fa fe fu ga go gi gu ba bo bu bi ka ki ku ko va vi vo ni na nu nc nk nf mp mb mm "
    "da du dr du sc sk sl sm sn sw ye yo yp xt pi pa pu lu lo tu ub uc ud ug um up ob oc od og oi ok os ot eb eg eq es ef eg ei"
)
_USUAL = frozenset(_USUAL_PAIRS.split())
"""Pairs of letters that words are made of: four in five of a text's, one in three of drawn
letters.
"""


def is_random(value: str, length_min: int = 16, *, quoted: bool = True) -> bool:
    """By itself alone: long, mixed, and of no words. For names that say little (`key`, a
    vendor's).
    """
    if not length_min <= len(value) <= VALUE_MAX or " " in value or _PLAIN.fullmatch(value):
        return False
    if _is_other(value, quoted=quoted) or is_uuid(value):
        return False
    if _NUMBERED.fullmatch(value):
        return False
    digits, letters, _ = _classes(value)
    if not letters or not digits:
        return is_drawn(value, max(20, length_min))
    if _is_name(value):
        return False
    return entropy(value) >= (2.7 if _HEX.fullmatch(value) or 12 <= len(value) < 16 else 3.0)


_NUMBERED = re.compile(
    r"(?:[a-z]\w*:)+[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?:[A-Za-z]{1,12}\d{0,3}-){1,6}(?:[0-9a-f]{32,128}|[A-Za-z0-9+/]{43}=)(?:-[a-z]{1,12}){0,3}"
    r"|[A-Z]{14}-[A-Z]{10}-[A-Z]"
)
"""`session:6242...`, `linux-node-629d...`: what a cache or a store calls something; an InChIKey."""
_CSS_MODULE = re.compile(r"[A-Za-z]{3,}(?:[_-][A-Za-z]{3,}){0,3}__[\w-]{5,6}")


def is_mixed(value: str) -> bool:
    """Of letters and digits."""
    digits, letters, _ = _classes(value)
    return bool(digits and letters)


_NO_DIGITS = str.maketrans("", "", string.digits)
_NO_LETTERS = str.maketrans("", "", string.ascii_letters)


def _classes(value: str) -> tuple[int, int, int]:
    if value.isascii():
        digits = len(value) - len(value.translate(_NO_DIGITS))
        letters = len(value) - len(value.translate(_NO_LETTERS))
    else:
        digits = sum(c.isdigit() for c in value)
        letters = sum(c.isalpha() for c in value)
    return digits, letters, len(value) - digits - letters


@lru_cache(maxsize=REMEMBERED_MAX)
def _is_other(value: str, *, quoted: bool) -> bool:
    """A placeholder, an address, a date, a version, a number, code, a list of assignments."""
    if "://" in value:
        return True
    if not quoted and (value.rstrip("=").count("=") > 2 or value.count(":") > 4):
        return True
    many_signs = sum(sign in value for sign in _SIGNS) >= SIGNS_OF_DRAWN
    if (
        is_placeholder(value)
        or (_NOT_ONE.match(value) and not many_signs)
        or _HASHED.match(value)
        or _CSS_MODULE.fullmatch(value)
        or _PATTERN.search(value)
    ):
        return True
    if not many_signs and value.lstrip("\"'").startswith("$"):
        return True  # of a shell, between quotes
    if _PATH.match(value) and not (_BASE64.fullmatch(value) and entropy(value) > 4.2 and not _is_name(value)):
        return True
    if (
        _CASE_NUMBER.fullmatch(value)
        or _DATE.fullmatch(value)
        or _VERSION.fullmatch(value)
        or (_NUMBER.fullmatch(value) and (len(value) < 16 or value[:2] in ("0x", "0X")))
    ):
        return True
    if value.lower() in _WORDS:
        return True
    if value.lower().startswith(_ALGORITHMS) and len(value) < 32:
        return True
    if not quoted:
        if value[0] in "{[(<":
            return True
        if "_" in value and value.isupper() and not any(c.isdigit() for c in value):
            return True
        if any(c in value for c in "()[]{}") and re.search(r"\w[(\[{]|[)\]}]$", value) and not many_signs:
            return True
        if _IDENTIFIER.fullmatch(value) and _JOINTS.search(value) and sum(c.isdigit() for c in value) <= 3:
            return True
    return False


_SIGNS = "!@#%^&*+=?~"
SIGNS_OF_DRAWN = 4
"""Kinds of signs, as a generator draws them and no code holds in one run."""


def has_signs(value: str) -> bool:
    """As a generator draws them: several kinds, among letters and digits."""
    return sum(sign in value for sign in _SIGNS) >= SIGNS_DRAWN_MIN and is_mixed(value)


SIGNS_DRAWN_MIN = 3
_ALGORITHMS = (
    "ed25519",
    "x25519",
    "secp256",
    "ecdsa",
    "rsa2048",
    "rsa4096",
    "sha256",
    "sha512",
    "aes128",
    "aes256",
    "aws4-",
    "hmac-sha",
    "xsalsa20",
    "chacha20",
    "xchacha20",
    "base64",
)
_WORDS = frozenset(
    {
        "true", "false", "null", "none", "undefined", "nil", "string", "number", "boolean", "integer", "required", "optional", "bearer",
        "basic", "password", "secret", "token", "default", "empty", "missing", "invalid", "expired", "generate", "sha256", "base64",
        "utf-8", "utf8", "oauth2", "oauth2.0", "md5", "sha1", "sha512", "hs256", "rs256", "es256", "aes256", "aes-256-gcm", "bcrypt",
        "argon2", "argon2id", "pbkdf2", "x509", "ed25519", "secp256k1", "secp256r1", "rsa2048", "cl100k_base", "o200k_base",
    }
)  # fmt: skip


_PLAIN_WORD = r"(?>[A-Z]?(?=[a-z]*[aeiouy])(?![A-Za-z]*(?i:[bcdfghjklmnpqrstvwxz]{5}))[a-z]{2,24}|[a-z]{1,2})"
_PLAIN = re.compile(rf"{_PLAIN_WORD}(?:[-_./:]{_PLAIN_WORD})*+")
"""Words and nothing else, as most values in code: what `_is_name` would say, at once. Nothing is
tried twice: two letters are a word in either way.
"""
_VERSIONED = re.compile(r"([a-z]{2})[VE]\d{1,3}(?:(?:Alpha|Beta)\d)?(?=[A-Z][a-z]|[-_./]|$)")
"""`TokenV2Response`"""


@lru_cache(maxsize=REMEMBERED_MAX)
def _is_name(value: str) -> bool:
    """Words and small numbers joined: `us-east-1`, `db_password_2`, `userId42`, `v1.2`. Not so a
    run in which they mix.
    """
    value = _VERSIONED.sub(r"\1", value).replace("OAuth2", "Oauth").replace("OAuth", "Oauth")
    pieces = [piece for piece in _PIECES.split(_DATED.sub("", value)) if piece]
    if not pieces:
        return True
    said = sum(len(piece) > 3 and phrases.is_word(piece) for piece in pieces)
    for piece in pieces:
        humps = _HUMPS.findall(piece)
        if sum(map(len, humps)) != len(piece):
            return False
        numbers = [hump for hump in humps if hump.isdigit()]
        words = [hump for hump in humps if not hump.isdigit()]
        if any(len(number) > 4 for number in numbers) or len(numbers) > 1 + (len(pieces) == 1 and len(words) > 4):
            return False
        odd = [
            w
            for w in words
            if len(w) > 2
            and w.lower() not in _SHORT
            and (not phrases.WORD.fullmatch(w) or phrases.CONSONANTS.search(w))
        ]
        if odd and said >= SAID_MIN:
            odd = [word for word in odd if len(word) > 3]
        acronyms = [word for word in odd if word.isupper() and len(word) <= 5]
        if len(odd) > len(acronyms) or len(acronyms) > 1 or (acronyms and _words_in(value) < 3):
            return False
        if len(words) > 2 and sum(len(word) < 3 for word in words) * 3 > len(words):
            return False
        if len(piece) >= 16 and len(humps) >= 5 and len(piece) < 3.5 * len(humps):
            return False
        if numbers and words and len(piece) > 8 and any(len(word) < 3 for word in words):
            return False
    mixed = [p for p in pieces if any(c.isdigit() for c in p) and any(c.isalpha() for c in p)]
    return len(mixed) <= max(1, len(pieces) // 2)


_SAID = re.compile(r"[A-Z]?[a-z]{2,}")


def is_of_code(text: str) -> bool:
    """A name of several words, with a number or two (`RefreshTokenV1Payload`)."""
    said = [hump for hump in _SAID.findall(text) if len(hump) > 2 and phrases.is_word(hump)]
    return (
        _IDENTIFIER.fullmatch(text) is not None
        and sum(map(str.isdigit, text)) <= DIGITS_OF_CODE
        and len(said) >= 2
        and 4 * sum(map(len, said)) >= 3 * sum(map(str.isalpha, text))
    )


DIGITS_OF_CODE = 3


SAID_MIN = 3
"""Whole words in a name in which shorter ones may be abbreviations."""
_SHORT_WORDS = (
    "jwt jws jwe jwk http https html xml sql ssl tls ssh csrf css cfg ctx mgr svc srv pwd pwds psw cmd str src dst tmp msg "
    "btn grpc dto rpc ptr txt img llm mcp gpt rgb yml xyz png"
)
_SHORT = frozenset(_SHORT_WORDS.split())
"""Without a vowel, and yet words in a program's names."""


def _words_in(value: str) -> int:
    return sum(not hump.isdigit() for hump in _HUMPS.findall(value))


def forget() -> None:
    """What was remembered of values: nothing that was scanned outlives its question."""
    for remembered in (is_placeholder, _is_other, _is_name):
        remembered.cache_clear()
