"""Ids that leave the gateway: services/edge/own_ids.py."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge import own_ids
from services.edge.own_ids import ID_BYTES_MAX, KEY_BYTES, REREAD_S, OwnIds, deployment_bits, owner_of
from shared import sealing
from shared.facts import Caller
from shared.ids import DeploymentId, KeyDigest

OWNER, TAG = owner_of(Caller(team_id="a")), deployment_bits(DeploymentId("d"))
ONE, TWO = bytes([1]) * KEY_BYTES, bytes([2]) * KEY_BYTES


@given(st.text(min_size=1, max_size=60), st.text(max_size=60))
def test_what_goes_out_comes_back_and_is_the_same_each_time(id: str, model: str) -> None:
    here, there = OwnIds(lambda: [ONE], float), OwnIds(lambda: [ONE], float)
    made = here.made(OWNER, TAG, model, id)
    found = there.opened(made, OWNER)
    assert found is not None and (found.owner, found.deployment, found.model, found.id) == (OWNER, TAG, model, id)
    assert made == there.made(OWNER, TAG, model, id) and made.isascii()
    assert OwnIds(lambda: [TWO], float).opened(made, OWNER) is None
    for place in range(len(made)):  # no character of it can be another
        assert here.opened(made[:place] + ("A" if made[place] != "A" else "B") + made[place + 1 :], OWNER) in (
            None,
            found,
        )


def test_another_owner_deployment_or_model_is_another_id() -> None:
    ids = OwnIds(lambda: [ONE], float)
    made = {
        ids.made(owner, tag, model, "resp_1")
        for owner in (OWNER, owner_of(Caller(team_id="b")))
        for tag in (TAG, deployment_bits(DeploymentId("e")))
        for model in ("", "m")
    }
    assert len(made) == 8 and all(each.startswith(("resp_tg1", "resp_tg2")) for each in made)
    assert ids.made(OWNER, TAG, "", "é" * ID_BYTES_MAX) == "é" * ID_BYTES_MAX and ids.made(OWNER, TAG, "", "") == ""


def test_owners() -> None:
    a, b = KeyDigest("a" * 64), KeyDigest("b" * 64)
    same = [
        (Caller(a, team_id="t"), Caller(b, team_id="t")), (Caller(a, user_id="u"), Caller(b, user_id="u", key_alias="x")),
        (Caller(a, team_id="t", user_id="u"), Caller(b, team_id="t", user_id="u", role="internal_user_viewer")),
    ]  # fmt: skip
    apart = [
        Caller(a), Caller(b), Caller(a, team_id="t"), Caller(a, user_id="t"), Caller(a, team_id="t", user_id="u"), Caller(),
        Caller(a, team_id="u", user_id="t"), Caller(a, team_id="t u"), Caller(a, team_id="t\nuser u"),
    ]  # fmt: skip
    assert all(owner_of(one) == owner_of(other) for one, other in same)
    assert len({owner_of(each) for each in apart}) == len(apart)


def test_a_rotated_key_opens_what_the_old_one_made_and_is_found_without_a_restart(tmp_path: Path) -> None:
    now = 0.0
    ids = own_ids.of({}, str(tmp_path))
    ids._seconds = lambda: now
    before = ids.made(OWNER, TAG, "m", "resp_1")
    sealing.rotate(str(tmp_path))
    elsewhere = own_ids.of({}, str(tmp_path))
    after = elsewhere.made(OWNER, TAG, "m", "resp_1")
    assert after != before and elsewhere.opened(before, OWNER) == elsewhere.opened(after, OWNER) is not None
    assert ids.opened(after, OWNER) is None
    now = REREAD_S + 1
    assert ids.opened(after, OWNER) == ids.opened(before, OWNER) is not None


def test_the_keys_file_isnt_read_for_each_id_that_is_nobodys() -> None:
    reads, now = [0], 0.0

    def keys() -> list[bytes]:
        reads[0] += 1
        return [ONE]

    ids = OwnIds(keys, lambda: now)
    for _ in range(100):
        assert ids.opened("resp_tg1" + "A" * 100, OWNER) is None and ids.opened("resp_1", OWNER) is None
    now = REREAD_S + 1
    for _ in range(100):
        assert ids.opened("resp_tg1" + "A" * 100, OWNER) is None
    assert reads == [2]


def test_keys_that_cant_be_read_again_stay() -> None:
    """An id that is nobody's, which anybody can send, must not cost all others theirs."""
    keys, now = [ONE], 0.0

    def read() -> list[bytes]:
        if not keys:
            raise sealing.SealingError("the file is gone")
        return keys

    ids = OwnIds(read, lambda: now)
    made = ids.made(OWNER, TAG, "m", "resp_1")
    keys.clear()
    now = REREAD_S + 1
    assert ids.opened("resp_tg1" + "A" * 100, OWNER) is None
    assert ids.opened(made, OWNER) is not None


def test_without_a_key() -> None:
    with pytest.raises(sealing.SealingError):
        OwnIds(list, float).ready()
    with pytest.raises(sealing.SealingError, match="16 characters"):
        own_ids.of({"LITELLM_SALT_KEY": "short"}, "").ready()


@pytest.mark.parametrize("prefix", ["msg_", "rs_", "fc_", "mcpr_"])
def test_an_items_id_has_no_more_than_64_characters_and_is_nobody_elses(prefix: str) -> None:
    """Clients cut or hash longer ones (can1357/oh-my-pi#284, NousResearch/hermes-agent#10788)."""
    ids, id = OwnIds(lambda: [ONE], float), prefix + "0123456789" * 5
    made = ids.made(OWNER, TAG, "", id)
    found = ids.opened(made, OWNER)
    assert len(made) <= 64 and found is not None and (found.id, found.deployment) == (id, TAG)
    assert ids.opened(made, owner_of(Caller(team_id="b"))) is None
    assert ids.opened(made.replace(prefix, "ws_", 1), OWNER) is None
