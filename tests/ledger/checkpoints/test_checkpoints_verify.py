"""What `verify` finds by signed checkpoints that no chain can tell. On a real PostgreSQL."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.ledger import chain, checkpoint, proofs, verify
from services.ledger.chain import EMPTY
from services.ledger.checkpoints import NotOurBookError
from services.ledger.verify import Asked
from shared.facts import encode_control
from shared.settings import SettingsError
from tests.ledger.ledger_kit import Book, Told, control, findings, now_ms, post_changes, settled, tamper
from tests.ledger.signing import KEY, OTHER, copy_all, rewrite_batches, sign


async def test_one_is_made_also_when_nothing_happened_and_each_names_the_one_before(book: Book, capsys: Told) -> None:
    first, second = await sign(book), await sign(book)
    assert (first.n, second.n, first.book) == (1, 2, second.book)
    assert first.audit.n == 0 and second.traffic == {}
    signed = [
        checkpoint.envelope(row["envelope"]) for row in await book.fetch("SELECT envelope FROM checkpoint ORDER BY n")
    ]
    assert second.previous_sha256 == signed[0].sha256
    assert all(checkpoint.holds(one, KEY.public_key) for one in signed)
    assert not any(checkpoint.holds(one, OTHER.public_key) for one in signed)
    assert await findings(book, capsys) == []


async def test_a_book_with_checkpoints_is_clean_and_says_how_many(full: Book, capsys: Told) -> None:
    assert await findings(full, capsys, own=[KEY.id]) == []
    await verify.run(full.database)
    assert "3 signed checkpoints" in capsys.readouterr().out


async def test_who_computes_every_hash_anew_is_found_by_what_was_signed(full: Book, capsys: Told) -> None:
    await rewrite_batches(full)
    found = await findings(full, capsys)
    assert [line.split(": checkpoint")[0] for line in found] == [
        "rewritten batch_log shard 0 n 2", "rewritten batch_log shard 0 n 3",
    ]  # fmt: skip
    await tamper(full, "DELETE FROM checkpoint", "DELETE FROM checkpoint_key")
    assert await findings(full, capsys) == [], "nothing in the database tells it: hence the copies"


async def test_an_audit_log_computed_anew_is_found(full: Book, capsys: Told) -> None:
    end, n = EMPTY, 0
    await full.owner.execute("SET session_replication_role = replica")
    for row in await full.fetch("SELECT * FROM audit_log ORDER BY n"):
        fact = chain.read(row["message"])
        assert fact is not None
        forged = encode_control(control(entity_id=fact.entity_id, after={"team_id": fact.entity_id, "forged": True}))
        link = chain.link(end, row["seq"], row["subject"], forged)
        cells = dict(zip(chain.READ_COLUMNS, chain.read_columns(chain.read(forged)), strict=True))
        await full.owner.execute(
            "UPDATE audit_log SET previous_sha256 = $2, sha256 = $3, message = $4, fact_id = $5, at_ms = $6, after = $7 WHERE n = $1",
            row["n"], end.sha256, link.sha256, forged, cells["fact_id"], cells["at_ms"], cells["after"],
        )  # fmt: skip
        end, n = link, row["n"]
    await full.owner.execute("UPDATE stream_position SET chain_sha256 = $1 WHERE stream = 'CONTROL'", end.sha256)
    await full.owner.execute("RESET session_replication_role")
    found = await findings(full, capsys)
    assert n == 3 and [line.split(": ")[0] for line in found] == ["rewritten audit_log n 2", "rewritten audit_log n 3"]


async def test_a_book_put_back_to_an_earlier_day_is_found_by_its_copies_alone(
    full: Book, capsys: Told, tmp_path: Path
) -> None:
    await copy_all(full, tmp_path)
    assert await findings(full, capsys, copies=tmp_path) == []
    await tamper(
        full, "DELETE FROM checkpoint WHERE n = 3", "DELETE FROM batch_log WHERE n = 3", "DELETE FROM request_log WHERE batch = 3",
        "DELETE FROM audit_log WHERE n = 3",
        "UPDATE stream_position p SET chain_n = 2, chain_sha256 = (SELECT sha256 FROM batch_log WHERE n = 2) WHERE stream = 'TRAFFIC'",
        "UPDATE stream_position p SET chain_n = 2, chain_sha256 = (SELECT sha256 FROM audit_log WHERE n = 2) WHERE stream = 'CONTROL'",
    )  # fmt: skip
    assert await findings(full, capsys, own=[KEY.id]) == []
    found = [line.split(": ")[0] for line in await findings(full, capsys, copies=tmp_path)]
    assert found == [
        "truncated checkpoint n 3 to 3", "truncated audit_log n 3 to 3", "truncated batch_log shard 0 n 3 to 3",
    ]  # fmt: skip


async def test_a_restored_backup_is_told_from_a_rollback_by_a_control_fact(
    full: Book, capsys: Told, tmp_path: Path
) -> None:
    await copy_all(full, tmp_path)
    await tamper(
        full, "DELETE FROM checkpoint WHERE n = 3", "DELETE FROM batch_log WHERE n = 3", "DELETE FROM request_log WHERE batch = 3",
        "UPDATE stream_position p SET chain_n = 2, chain_sha256 = (SELECT sha256 FROM batch_log WHERE n = 2) WHERE stream = 'TRAFFIC'",
    )  # fmt: skip
    assert await findings(full, capsys, copies=tmp_path) != []
    await post_changes(full, control(kind="restore", entity_id="book", after={"checkpoint": 2, "at_ms": now_ms()}))
    await full.post(settled())
    await sign(full)
    assert await findings(full, capsys, copies=tmp_path) == []
    await verify.run(full.database, Asked(copies=tmp_path))
    assert "checkpoints 3 to 3 are void" in capsys.readouterr().out
    await copy_all(full, tmp_path)
    assert await findings(full, capsys, copies=tmp_path) == []


async def test_whoever_signs_with_a_key_of_his_own_is_found(full: Book, capsys: Told, tmp_path: Path) -> None:
    await copy_all(full, tmp_path)
    await rewrite_batches(full)
    await tamper(full, "DELETE FROM checkpoint", "DELETE FROM checkpoint_key")
    for _ in range(3):
        await sign(full, OTHER)
    assert await findings(full, capsys) == [], "the database alone says what its owner wants it to"
    for asked in ({"own": [KEY.id]}, {"trusted": [KEY.id]}, {"copies": tmp_path}):
        assert {line.split()[0] for line in await findings(full, capsys, **asked)} >= {"forged"}, asked


@pytest.mark.parametrize("change", ["text", "signature", "key", "n", "previous", "gap", "junk"])
async def test_a_checkpoint_that_was_touched_is_found(full: Book, capsys: Told, change: str) -> None:
    row = (await full.fetch("SELECT envelope FROM checkpoint WHERE n = 2"))[0]
    signed = json.loads(row["envelope"])
    if change == "text":
        signed["text"] = signed["text"].replace('"minutes":10', '"minutes":11')
    elif change == "signature":
        raw = bytearray(base64.b64decode(signed["signature"]))
        raw[5] ^= 1
        signed["signature"] = base64.b64encode(raw).decode()
    elif change == "key":
        signed = json.loads(json.dumps({**signed, "key": OTHER.id}))
    elif change == "previous":
        said = checkpoint.read_checkpoint(checkpoint.envelope(row["envelope"]))
        forged = OTHER.sign(said)
        signed = {"text": forged.text, "key": KEY.id, "signature": forged.signature}
    if change == "gap":
        await tamper(full, "DELETE FROM checkpoint WHERE n = 2")
    elif change == "n":
        await tamper(full, "UPDATE checkpoint SET envelope = (SELECT envelope FROM checkpoint WHERE n = 1) WHERE n = 2")
    else:
        text = "x" if change == "junk" else json.dumps(signed)
        await full.owner.execute("SET session_replication_role = replica")
        await full.owner.execute("UPDATE checkpoint SET envelope = $1 WHERE n = 2", text)
        await full.owner.execute("RESET session_replication_role")
    assert await findings(full, capsys) != []


async def test_a_new_key_is_signed_by_the_old_one_and_the_old_one_signs_no_more(full: Book, capsys: Told) -> None:
    with pytest.raises(NotOurBookError, match=KEY.id):
        await sign(full, OTHER)
    assert (await sign(full, OTHER, KEY)).n == 4
    assert (await sign(full, OTHER)).n == 5, "the old one isn't needed any more"
    assert await findings(full, capsys, trusted=[KEY.id]) == []
    assert await findings(full, capsys, trusted=[OTHER.id]) != [], "a root must be at the beginning"
    with pytest.raises(NotOurBookError):
        await sign(full, KEY)
    said = checkpoint.read_checkpoint(
        checkpoint.envelope(await full.value("SELECT envelope FROM checkpoint WHERE n = 5"))
    )
    stolen = KEY.sign(said)
    stored = json.dumps({"text": stolen.text, "key": stolen.key, "signature": stolen.signature})
    await full.owner.execute("SET session_replication_role = replica")
    digest = hashlib.sha256(stolen.text.encode()).digest()
    await full.owner.execute("UPDATE checkpoint SET envelope = $1, sha256 = $2 WHERE n = 5", stored, digest)
    found = await findings(full, capsys, trusted=[KEY.id])
    assert f"signed by '{KEY.id}', where {OTHER.id} signs" in found[0]


async def test_a_key_that_nobody_signed_is_forged(full: Book, capsys: Told) -> None:
    await sign(full, OTHER, KEY)
    row = (await full.fetch("SELECT envelope FROM checkpoint_key WHERE number = 2"))[0]
    said = checkpoint.read_statement(checkpoint.envelope(row["envelope"]))
    forged = OTHER.sign(said)
    await full.owner.execute("SET session_replication_role = replica")
    await full.owner.execute(
        "UPDATE checkpoint_key SET envelope = $1 WHERE number = 2",
        json.dumps({"text": forged.text, "key": forged.key, "signature": forged.signature}),
    )
    assert any("isn't made by the key before it" in line for line in await findings(full, capsys, own=[KEY.id]))


async def test_a_part_of_the_time_is_verified_alone(full: Book, capsys: Told) -> None:
    today = datetime.now(UTC).date()
    assert await findings(full, capsys, first=today, last=today) == []
    assert await findings(full, capsys, first=today) == []
    assert await findings(full, capsys, last=today - timedelta(days=1)) == []
    victim = await full.value("SELECT id FROM request_log WHERE batch = 2 LIMIT 1")
    await tamper(full, f"UPDATE request_log SET cost_picousd = 1 WHERE id = '{victim}'")
    assert len(await findings(full, capsys, first=today, last=today)) == 1
    assert await findings(full, capsys, first=today + timedelta(days=1)) == []
    await rewrite_batches(full)
    found = sorted(line.split()[0] for line in await findings(full, capsys, first=today))
    assert found == ["changed", "rewritten", "rewritten"]


async def test_copies_that_were_touched_are_found(full: Book, capsys: Told, tmp_path: Path) -> None:
    await copy_all(full, tmp_path)
    (file,) = (tmp_path / "checkpoints").glob("000000000002-*.json")
    before = file.read_text()
    file.write_text(before.replace('\\"minutes\\":10', '\\"minutes\\":11'))
    assert [line.split()[0] for line in await findings(full, capsys, copies=tmp_path)] == ["forged"]
    file.write_text("{}")
    assert [line.split()[0] for line in await findings(full, capsys, copies=tmp_path)] == ["forged"]
    file.unlink()
    assert await findings(full, capsys, copies=tmp_path) == [], "copies may lack one: the next covers it"
    with pytest.raises(SettingsError, match="no such folder"):
        await proofs.gather(full.owner, tmp_path / "nowhere", None, [], [])
