"""Where a text is looked at (secrets/gate.py): nothing is lost by looking only there, and ordinary
or hostile texts have few such places.
"""

import random
import time
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.moderation.secrets import abroad, blocks, engine, gate, words
from services.moderation.secrets.linear import compiled
from tests.moderation.apart.innocent import innocent
from tests.moderation.apart.planted import planted
from tests.moderation.formats import cases
from tests.moderation.secret_contexts import filled
from tests.moderation.secret_corpus import secrets
from tests.moderation.secret_lookalikes import lookalikes


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> engine.Engine:
    """An engine that looks at every name wherever it stands."""
    monkeypatch.setattr(engine, "regions", lambda data: [(0, len(data))])
    return engine.Engine(None)


def corpora() -> Iterator[str]:
    for seed in (7, 2026):
        yield from (text for _, text, _ in secrets(seed))
    yield from (text for _, text in lookalikes(11))
    for seed in (99, 2026):
        yield from (text for _, text, _ in filled(seed))
    yield from (case.text for case in planted())
    yield from (case.text for case in innocent())
    yield from (case.text for case in (*cases.planted(), *cases.innocent()))


def test_nothing_is_lost_on_the_corpora(everywhere: engine.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = list(corpora())
    for looks_back in (True, False):
        wanted = [everywhere.find(text, looks_back=looks_back) for text in texts]
        with monkeypatch.context() as only:
            only.setattr(engine, "regions", gate.regions)
            found = [everywhere.find(text, looks_back=looks_back) for text in texts]
        assert [text for text, a, b in zip(texts, found, wanted, strict=True) if a != b] == []
        assert sum(map(len, wanted)) > 1_000


_NAMES = [
    *words.LITERALS,
    *abroad.PASSWORDS,
    *abroad.KEYS,
    *words.VENDORS[::7],
    "api_key",
    "AccessKey",
    "stripe_key",
    "monkey",
    "DB_PASSWORD",
    "cache_key",
]
_JOINTS = [
    "=", ": ", '": "', "='", " is ", " for staging is: ", " => ", " ", "(", ", ", ">", " | ", "\n", ":\n  ", "[0] = ",
    "s are ", "_x=", "->", ": str = '",
    '\nvalue: "', ' {\n  default = "', "\\\": \\\"", "=Bearer ", ": Basic ", " as the ", "：", "@", "://", " -p", "`: `", "&quot;",
    "Basic ", "\nuser ann ", "open ftp.x\nuser bob ", " on >", "> AUTH x ", "password 7 ", "password from ", "\n$ vault read token", "echo ",
    " | chpasswd", ",", ";", "\t", "|\n", "user,password\n", "|password|user|\n", "id, key\r\n", "<th>", "<tr><td>", "2,", "-",
]  # fmt: skip
_VALUES = [
    "hunter2x", "Tr0ub4dor&3", "a1", "sk_1234567890abcdef", "abcdefghijkl", "xkqzvwrtplmnbcgh", "pa'ss1word",
    "it\"s4me", "9f86d081884c7d659a2feaa0c55ad015",
    "dXNlcjpwYXNzd29yZA==", "ключ1234", "correct-horse-battery-9", "1234567890123456", "word", "é9é9é9é9",
    "a=b1c2d3e4f5g6h7i8", "1=23456789012345678", "heslo/", "ab--cdef", "$2b$12$abc", "p@ss!word",
]  # fmt: skip
_LOOKS = engine.Engine(None)
_PIECES = st.sampled_from([*_NAMES, *_JOINTS, *_VALUES, *_VALUES])


@given(st.lists(_PIECES, min_size=2, max_size=9).map("".join))
@example("passwcache_keys are 1=23456789012345678passw")
@example("key=" * 20 + "a1b2c3d4e5f6g7h8")
@example("token=secretkey16chars=abc123def456")
@example('passw\\": \\"it"s4me\\": \\"')
@example("passw= -ppassw")
@example("key: Basic a=b1c2d3e4f5g6h7i8")
@example("key: Bearer 1=2345678901234567")
@example('key="Bearer a\'b1c2d3"')
@example('token="1=23456789012345678"')
@example('password="heslo.."')
@example(" on >> AUTH x Tr0ub4dor&3")
@example("x,token\nAUTH default Tr0ub4dor&3")
@example("open ftp.x\nuser bob pa'ss1word")
@example("id, password\nx, Tr0ub4dor&3\n")
@example("password2,name\nTr0ub4dor&3,x\n")
@example("\n$ aws secret x\nsecret 5 \r\nsk_1234567890abcdef")
@settings(max_examples=1500, deadline=None)
def test_nothing_is_lost_whatever_stands_together(text: str) -> None:
    data = text.encode()
    found = _LOOKS._own(data, True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(engine, "regions", lambda data: [(0, len(data))])
        wanted = _LOOKS._own(data, True)
    assert found == wanted


KB = 1024


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("key=", 0), ("key ", 0), ("token is ", 0), ("a password, the token and the secret of the keyboard; ", 0), ("tokens: 12, ", 0),
        ("monkey: see, author: do. ", 0), ('{"key": "item", "tokens": 1234, "author": "ann"}, ', 0), ("key_alias=team-42 token_count=7 ", 0),
        ("the quick brown fox jumps over the lazy dog ", 0), ("key=abcdefgh ", 0), ("password password ", 0),
        ("https://example.org/a/b?key=1 ", 0),
        ("see the documentation: authentication tokens are explained there (and keys). ", 0), ("def key(self, token: str) -> bool: ...\n", 0),
    ],
)  # fmt: skip
def test_texts_full_of_names_have_nothing_to_look_at(text: str, most: int) -> None:
    """So they cost what three passes of an automaton cost: 6 microseconds a kilobyte."""
    assert len(gate.regions((text * (100 * KB // len(text))).encode())) <= most


@pytest.mark.parametrize(
    "text", ["password: a1", "key=a1", "://u:p@", "api_key=value12 and ", "-----BEGIN RSA PRIVATE KEY-----\nMIIa"]
)
def test_what_is_looked_at_grows_with_the_text_and_not_faster(text: str) -> None:
    data = (text * (64 * KB // len(text))).encode()
    half, whole = (sum(end - start for start, end in gate.regions(part)) for part in (data[: len(data) // 2], data))
    assert whole <= len(data)
    assert whole <= 2.1 * half + KB


@pytest.mark.parametrize("text", ["pass=[[[x1", "pass=passx.", "auth-user-passa1", "wifi:a1", "pass,x1="])
def test_no_place_is_looked_for_to_the_end_of_the_text(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A match of an automaton is certain only when every better one has failed: each reads a
    bounded piece of the text.
    """
    read: list[int] = []

    class Reader:
        def search(self, piece: bytes, at: int) -> None:
            read.append(len(piece))

    data = (text * (200 * KB // len(text))).encode()
    monkeypatch.setattr(gate, "_GATES", [Reader()])
    gate.regions(data)
    assert max(read) <= gate.CALM_WINDOW + gate.AHEAD
    assert sum(read) <= 1.1 * len(data)


def test_a_text_of_many_matches_is_read_in_short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its matches may read to the end of the piece that it is in."""
    calm = compiled("x1")
    read: list[int] = []

    class Reader:
        def search(self, piece: bytes, at: int) -> object:
            read.append(len(piece) - at)
            return calm.search(piece, at)

    data = b"pass=x1, " * 20_000
    monkeypatch.setattr(gate, "_GATES", [calm])
    everything = gate.regions(data)
    monkeypatch.setattr(gate, "_GATES", [Reader()])
    assert gate.regions(data) == everything
    assert len(everything) == 20_000
    assert sum(length > gate.WINDOW + gate.AHEAD for length in read) <= gate.CALM_MATCHES_MAX + 1


@pytest.mark.alone
def test_the_automata_keep_the_states_that_texts_need() -> None:
    """A text of nothing but names costs 6 times what prose does a byte, and 25 to 300 times where
    an automaton has more states than it may keep, and makes them again and again.
    """

    def ns_a_byte(data: bytes) -> float:
        took = []
        for _ in range(3):
            begun = time.process_time_ns()
            gate.regions(data)
            took.append((time.process_time_ns() - begun) / len(data))
        return min(took)

    rng = random.Random(5)
    words = ("the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "while", "everybody", "is", "watching")
    names = ("password", "token", "secret", "key", "auth", "credential", "session", "cookie", "login", "api_key")
    ends = ["", "_id", "s", "Name", "-x", "=1", " is the ", " = "]
    said = [rng.choice(names) + rng.choice(ends) if rng.random() < 0.5 else rng.choice(words) for _ in range(30_000)]
    prose = b"The quick brown fox jumps over the lazy dog while everybody watches the river. " * 3_000
    assert ns_a_byte(" ".join(said).encode()) <= 15 * ns_a_byte(prose)


@pytest.mark.parametrize("shift", [*range(-60, 20, 3), -2_500])
def test_nothing_is_lost_where_one_window_ends(everywhere: engine.Engine, shift: int) -> None:
    text = " " * (gate.WINDOW + shift) + "db_password = 'Tr0ub4dor&3x'; eyJ" + "a" * 2_000 + ".bbbbbbbb.c "
    data = text.encode()
    wanted = everywhere._own(data, True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(engine, "regions", gate.regions)
        assert everywhere._own(data, True) == wanted
    assert len(wanted) == 2


@pytest.mark.parametrize("kind", ["LS0tLS1CRUdJTi", "LS0tLS1CRUdJTiBSU0EgUFVCTElDIEtFWS0tLS0tCk1JSUI\n"])
def test_the_beginnings_of_encoded_keys_are_read_no_further_than_shows_what_they_are_of(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would go on to the text's end."""
    seen: list[int] = []
    decoded = blocks._decoded

    def counted(said: bytes) -> bytes:
        seen.append(len(said))
        return decoded(said)

    monkeypatch.setattr(blocks, "_decoded", counted)
    assert engine.Engine(None).find(kind * 3_000) == []
    assert len(seen) == 3_000
    assert max(seen) <= blocks._ENCODED_HEADER_MAX
