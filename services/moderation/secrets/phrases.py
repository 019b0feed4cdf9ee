"""Words that are a password together, and words that only say something of one. Pure."""

import re

WORD = re.compile(r"(?=[a-z]*[aeiouy])[a-z]{2,}", re.IGNORECASE)
"""With a vowel."""
CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxz]{5,}", re.IGNORECASE)
"""A run of them that no word has."""
NUMBERS_OF = re.compile(
    r"(?:^|[^a-z])(?:rfc|iso|iec|nist|cve|pkcs|sha|sha-|aes|rsa|utf|port|http|error|err|version|win|user|id|din|en|code|page|line|day|step)[-_]?\d",
    re.IGNORECASE,
)
"""Numbers that standards, errors and ports have."""

_TECHNICAL_WORDS = (
    "password passwd secret secrets key keys token tokens name file path user admin prod production dev staging test example value id ref "
    "credential credentials vault database account service config version role group policy field hash reset input app api server client"
)
TECHNICAL = frozenset(_TECHNICAL_WORDS.split())


def is_word(text: str) -> bool:
    """Whether letters could be one: a vowel, no run of consonants."""
    return WORD.fullmatch(text) is not None and CONSONANTS.search(text) is None


def is_passphrase(value: str, numbers_min: int = 1) -> bool:
    """`correct-horse-battery-9`: words that belong to nothing, and a number."""
    words = re.split(r"[-_.]", value.lower())
    said = [word for word in words if word.isalpha()]
    numbers = len(words) - len(said)
    fine = all(3 <= len(word) <= 10 and word not in TECHNICAL for word in said)
    return (
        len(said) >= 3
        and fine
        and numbers_min <= numbers <= 2
        and all(re.fullmatch(r"\d{1,4}[!?]?|[a-z]+", w) for w in words)
    )


_SAID_OF_IT_WORDS = (
    "change changeme replace replaced your please here strong random long string strings insert enter some this "
    "that with must should the use and for from not are was put set get new old own real actual default sample "
    "example placeholder dummy fake local store manager auth login tls cert certs root main cluster node pod kube "
    "kubernetes docker registry github gitlab bot web site host data redis postgres mysql mongo rabbit kafka image "
    "pull deploy build"
)
_SAID_OF_IT = frozenset(_SAID_OF_IT_WORDS.split())
"""Words of references to a secret, and of what stands in its place."""


def is_words(value: str) -> bool:
    """`walnut-anchor-tundra-velvet`: four words or more that belong to nothing."""
    said = re.split(r"[-_.]", value)
    return (
        4 <= len(said) <= 8
        and value.islower()
        and is_passphrase(value, 0)
        and not any(word in _SAID_OF_IT for word in said)
    )


_RESPELLED = re.compile(
    r"(?=.{7})(?!v\d|k8|i18|l10|a11|e2e|oauth|p2p|b2b|s3|ec2)(?:[A-Za-z]{1,6}(?:[013457@$][a-z]{1,8}){1,3}|[A-Za-z]{4,8}[013457@$])[-_.!]\d{2,}[!?*]?"
)


def is_respelled(value: str) -> bool:
    """`w4lnut_1669`: digits in the place of letters in a word, and a number."""
    return _RESPELLED.fullmatch(value) is not None


_OF_WORDS = re.compile(r"(?:[A-Z][a-z]{2,12}[-_.]?){2,3}\d{2,4}[!?]?")


def is_made_of_words(value: str) -> bool:
    """`Harbor-Falcon-22`"""
    said = re.findall("[A-Z][a-z]+", value)
    return (
        _OF_WORDS.fullmatch(value) is not None
        and not NUMBERS_OF.search(value)
        and not any(word.lower() in TECHNICAL for word in said)
    )
