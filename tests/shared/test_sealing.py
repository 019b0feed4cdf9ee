"""What is sealed nobody prints, opens elsewhere, or changes unnoticed; keys rotate, and old records
stay readable.
"""

import multiprocessing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sealing import Keyring, Sealed, SealingError, keyring, rotate
from shared.settings import SettingsError

OLD, NEW = "an old and long salt key", "a new and longer salt key"
RING = Keyring([OLD])


@given(st.text(max_size=200), st.text(max_size=40))
def test_what_is_sealed_for_a_place_opens_there_and_nowhere_else(text: str, place: str) -> None:
    sealed = RING.seal(text, place)
    assert RING.open(sealed, place).reveal() == text
    with pytest.raises(SealingError):
        RING.open(sealed, place + "x")


def test_it_travels_and_nobody_prints_it() -> None:
    sealed = RING.seal("sk-canary", "model/1/api_key")
    for encode, decode in (
        (msgspec.msgpack.encode, msgspec.msgpack.decode),
        (msgspec.json.encode, msgspec.json.decode),
    ):
        raw = encode(sealed)
        assert b"canary" not in raw
        assert decode(raw, type=Sealed) == sealed
    assert f"{sealed!r} {sealed} {[sealed]}" == "Sealed(***) Sealed(***) [Sealed(***)]"
    assert OLD not in repr(RING)
    assert RING.seal("sk-canary", "model/1/api_key") != sealed, "twice the same looks like two"


@pytest.mark.parametrize("field", ["wrapped", "data"])
def test_any_changed_bit_is_noticed(field: str) -> None:
    sealed = RING.seal("sk-canary", "p")
    raw = getattr(sealed, field)
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1
        with pytest.raises(SealingError) as refusal:
            RING.open(msgspec.structs.replace(sealed, **{field: bytes(changed)}), "p")
        assert "canary" not in str(refusal.value)
    for junk in (b"", b"x", raw[:12], raw[:-1]):
        with pytest.raises(SealingError):
            RING.open(msgspec.structs.replace(sealed, **{field: junk}), "p")


def test_keys_rotate() -> None:
    sealed = RING.seal("sk-canary", "p")
    both = Keyring([NEW, OLD])
    assert both.open(sealed, "p").reveal() == "sk-canary" and not both.is_current(sealed)
    again = both.reseal(sealed, "p")
    assert both.is_current(again) and again.key_id == Keyring([NEW]).current and both.reseal(again, "p") is again
    assert Keyring([NEW]).open(again, "p").reveal() == "sk-canary"
    with pytest.raises(SealingError, match="isn't here"):
        Keyring([NEW]).open(sealed, "p")
    with pytest.raises(SealingError, match="isn't here"):
        RING.open(again, "p")
    with pytest.raises(SealingError):
        both.reseal(sealed, "another place")


def test_a_short_key_is_refused() -> None:
    for texts in ([], ["short"], [NEW, "short"]):
        with pytest.raises(SettingsError, match="16 characters"):
            Keyring(texts)


def test_where_the_key_comes_from(tmp_path: Path) -> None:
    made = keyring({}, str(tmp_path))
    sealed = made.seal("sk-canary", "p")
    file = tmp_path / "sealing.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert keyring({}, str(tmp_path)).open(sealed, "p").reveal() == "sk-canary"
    rotate(str(tmp_path))
    rotated = keyring({}, str(tmp_path))
    assert rotated.current != made.current and rotated.open(sealed, "p").reveal() == "sk-canary"
    named = keyring({"LITELLM_SALT_KEY": NEW}, str(tmp_path))
    assert named.current == Keyring([NEW]).current and named.open(sealed, "p").reveal() == "sk-canary"
    older = keyring({"LITELLM_SALT_KEY": NEW, "TOLLGATE_OLD_SALT_KEYS": f"{OLD}, "}, str(tmp_path / "elsewhere"))
    assert older.open(RING.seal("x", "p"), "p").reveal() == "x"
    assert not (tmp_path / "elsewhere").exists(), "nothing is made where a key is named"
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        keyring({}, str(tmp_path))


def _current(data_dir: str) -> str:
    return keyring({}, data_dir).current


def test_several_that_start_at_once_have_one_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert len(set(pool.map(_current, [str(tmp_path)] * 9))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["sealing.key"]
