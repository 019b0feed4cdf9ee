"""Signed checkpoints: made in time, copied elsewhere, and what `verify` finds by them that no chain can tell. On a real PostgreSQL."""

import asyncio
import base64
import hashlib
import json
import os
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from nats.aio.client import Client

from services.ledger import batch_chain, chain, checkpoint, copies, proofs, signing, verify
from services.ledger.audit import AuditTally
from services.ledger.batch_chain import Made
from services.ledger.chain import EMPTY
from services.ledger.checkpoint import SigningKey
from services.ledger.checkpoints import Checkpoints, NotOurBookError
from services.ledger.copies import Copies, CopyError
from services.ledger.message import Message
from services.ledger.verify import Asked
from shared import subjects
from shared.facts import encode_control
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.settings import SettingsError
from tests.ledger.ledger_kit import Book, Policy, Told, control, eventually, findings, now_ms, running, settled
from tests.ledger.servers import Nats
from tests.ledger.test_ledger_verify import post_control, tamper
from tests.support.serving import handled_by, serving

KEY = SigningKey(Ed25519PrivateKey.generate())
OTHER = SigningKey(Ed25519PrivateKey.generate())


async def sign(book: Book, *keys: SigningKey, at_ms: int | None = None) -> checkpoint.Checkpoint:
    maker = Checkpoints(book.database, None, keys or (KEY,), 10, asyncio.Event(), lambda: at_ms or now_ms())
    return await maker.make(book.owner)


@pytest.fixture
async def full(book: Book) -> AsyncIterator[Book]:
    """Three checkpoints: over nothing, over a part, over all."""
    await sign(book)
    await post_control(book, "a", "b")
    for _ in range(2):
        await book.post(settled(), settled())
    await sign(book)
    await post_control(book, "c")
    await book.post(settled(), settled())
    await sign(book)
    yield book


async def rewrite_batches(book: Book) -> None:
    """As somebody who can write everything: takes a row out of the first batch, and makes all that follows fit again, to the very end."""
    victim = await book.value("SELECT id FROM request_log WHERE batch = 1 LIMIT 1")
    await tamper(book, f"DELETE FROM request_log WHERE id = '{victim}'")
    end = EMPTY
    for row in await book.fetch("SELECT * FROM batch_log WHERE shard = 0 ORDER BY n"):
        entries = {k: v for k, v in batch_chain.entries(row["manifest"]).items() if k != victim.bytes}
        manifest = b"".join(entries) + b"".join(entries.values())
        made = Made(row["first_seq"], row["last_seq"], row["at_ms"])
        link = batch_chain.link(end, 0, made, len(entries), manifest, row["format"])
        await book.owner.execute("SET session_replication_role = replica")
        await book.owner.execute(
            "UPDATE batch_log SET manifest = $2, rows = $3, previous_sha256 = $4, sha256 = $5 WHERE shard = 0 AND n = $1",
            row["n"], manifest, len(entries), end.sha256, link.sha256,
        )  # fmt: skip
        end = link
    await book.owner.execute("UPDATE stream_position SET chain_sha256 = $1 WHERE stream = 'TRAFFIC'", end.sha256)
    await book.owner.execute("RESET session_replication_role")


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


async def copy_all(book: Book, folder: Path) -> None:
    await Copies(book.database, [copies.Files(str(folder), {})], asyncio.Event()).catch_up(
        copies.Files(str(folder), {})
    )


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
    fact = control(kind="restore", entity_id="book", after={"checkpoint": 2, "at_ms": now_ms()})
    tally = AuditTally(await full.database.writer(), subjects.CONTROL_STREAM)
    known = await tally.position()
    await tally.post_control([Message(known.seq + 1, 1, "control.restore.book", encode_control(fact))], known)
    tally.terminate()
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


# Copies.


class Flaky:
    label = "flaky"

    def __init__(self) -> None:
        self.down = True
        self.files: dict[str, bytes] = {}

    async def put(self, path: str, data: bytes) -> None:
        if self.down:
            raise CopyError("down")
        assert path not in self.files
        self.files[path] = data


async def test_a_place_that_is_down_delays_nothing_and_gets_what_it_missed(full: Book, tmp_path: Path) -> None:
    flaky, folder, stopping = Flaky(), copies.Files(str(tmp_path / "c"), {}), asyncio.Event()
    task = asyncio.create_task(Copies(full.database, [flaky, folder], stopping).run())

    async def there() -> bool:
        return len(list((tmp_path / "c/checkpoints").glob("*.json"))) == 3

    await eventually(there)
    await sign(full)
    assert flaky.files == {}
    flaky.down = False

    async def caught_up() -> bool:
        return len(flaky.files) == 5

    await eventually(caught_up)
    assert [path.split("-")[0] for path in flaky.files] == [
        "keys/000001",
        *(f"checkpoints/{n:012d}" for n in range(1, 5)),
    ]
    stopping.set()
    await asyncio.wait_for(task, 10)
    stored = await full.value("SELECT envelope FROM checkpoint WHERE n = 2")
    (file,) = (tmp_path / "c/checkpoints").glob("000000000002-*.json")
    assert file.read_text() == stored


async def test_a_webhook_gets_each_once_and_again_after_a_refusal(full: Book) -> None:
    got: list[tuple[str, bytes]] = []
    refuse = 1

    async def take(request: web.Request) -> web.Response:
        nonlocal refuse
        if refuse:
            refuse -= 1
            return web.Response(status=503)
        got.append((request.headers["x-tollgate-path"], await request.read()))
        return web.Response(status=204)

    outbound = Outbound(OutboundSettings(), Guard(any_address=True))
    async with serving(handled_by(take, "POST", "/hook")) as url:
        (target,) = copies.targets(f"{url}/hook?token=secret", {}, outbound)
        assert "secret" not in target.label
        work = Copies(full.database, [target], asyncio.Event())
        with pytest.raises(CopyError, match="503"):
            await work.catch_up(target)
        await work.catch_up(target)
        assert len(got) == 4 and json.loads(got[1][1])["key"] == KEY.id
        await sign(full)
        await work.catch_up(target)
        assert len(got) == 5
        work._drop()
        await outbound.close()


def test_wrong_places_are_refused() -> None:
    outbound = Outbound(OutboundSettings(), Guard(any_address=True))
    assert copies.targets("", {}, outbound) == []
    assert len(copies.targets("/srv/a, https://h/x ,s3://b/p", {}, outbound)) == 3
    with pytest.raises(SettingsError, match="ftp"):
        copies.targets("ftp://x", {}, outbound)


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


# The key.


async def test_the_key_is_made_once_and_for_us_alone(tmp_path: Path) -> None:
    made = await asyncio.gather(*(signing.keys("", "", str(tmp_path / "d"), {}) for _ in range(4)))
    assert len({keys[0].id for keys in made}) == 1
    file = tmp_path / "d" / signing.FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    fresh = signing.rotate(str(tmp_path / "d"))
    assert [key.id for key in await signing.keys("", "", str(tmp_path / "d"), {})] == [fresh.id, made[0][0].id]
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="others may read"):
        await signing.keys("", "", str(tmp_path / "d"), {})
    file.chmod(0o600)
    file.write_text("junk")
    with pytest.raises(SettingsError, match="is none") as refused:
        await signing.keys("", "", str(tmp_path / "d"), {})
    assert "junk" not in str(refused.value)
    assert await signing.keys("", "", str(tmp_path / "nobody"), {}, make=False) == []


async def test_the_key_comes_from_where_secrets_are_kept(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    raw = base64.b64encode(private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())).decode()
    (tmp_path / "key.pem").write_text(pem)
    environ = {"TOLLGATE_SECRET_FILE_DIRS": str(tmp_path), "K": raw}
    for text in ("file/key.pem", "os.environ/K", pem, raw):
        (key,) = await signing.keys(text, "", "/nowhere", environ)
        assert key.id == SigningKey(private).id
        assert repr(key) == f"SigningKey({key.id})"
    first, second = await signing.keys("os.environ/K", "file/key.pem", "/nowhere", environ)
    assert first.id == second.id
    for wrong in ("os.environ/MISSING", "file//etc/passwd", "x", base64.b64encode(b"short").decode()):
        with pytest.raises(SettingsError, match="checkpoint key"):
            await signing.keys(wrong, "", "/nowhere", environ)


# In the service.


async def test_a_ledger_signs_by_itself_tells_policy_copies_and_shows_its_keys(
    nats_server: Nats, client: Client, policy: Policy, book: Book, tmp_path: Path, capsys: Told
) -> None:
    made = {
        "checkpoint_minutes": 0.005,
        "data_dir": str(tmp_path / "data"),
        "checkpoint_copies": str(tmp_path / "copies"),
    }
    async with running(nats_server.url, book.url, **made) as ledger:

        async def three() -> bool:
            return len(list((tmp_path / "copies/checkpoints").glob("*.json"))) >= 3

        await eventually(three)
        status, keys, _ = await ledger.get("/.well-known/tollgate-ledger-keys", key=None)
        assert (status, len(keys["keys"]), keys["keys"][0]["crv"]) == (200, 1, "Ed25519")

        async def told() -> Any:
            _, body, _ = await ledger.get("/audit", table_name="Tollgate_checkpoint", sort_order="asc")
            return [row["updated_values"] for row in body["audit_logs"] if "n" in (row["updated_values"] or {})]

        facts = await eventually(told)
        status, shown, _ = await ledger.get("/checkpoints", after="0", limit="2")
        assert [one["n"] for one in shown["checkpoints"]] == [1, 2] and shown["next_after"] == 2
        assert facts[0]["signed_by"] == keys["keys"][0]["kid"]
        assert (await ledger.get("/checkpoints", key="sk-alice"))[0] == 401
        assert (await ledger.get("/checkpoints", limit="-1"))[0] == 400
        assert (await ledger.get("/checkpoints", after="x"))[0] == 400
    saved = tmp_path / "keys.json"
    saved.write_text(json.dumps(keys))
    assert proofs.trusted_keys(saved) == [keys["keys"][0]["kid"]]
    assert await findings(book, capsys, copies=tmp_path / "copies", trusted=proofs.trusted_keys(saved)) == []


async def test_somebody_who_takes_rows_out_is_told_of_by_the_next_checkpoint(full: Book, capsys: Told) -> None:
    await sign(full)
    assert "book_was_rewritten" not in capsys.readouterr().out
    await rewrite_batches(full)
    await sign(full)
    assert "book_was_rewritten" in capsys.readouterr().out


async def test_two_ledgers_with_two_keys_sign_one_book_once(
    nats_server: Nats, client: Client, policy: Policy, book: Book, tmp_path: Path, capsys: Told
) -> None:
    refused = False
    for n in (1, 2):
        made = {"checkpoint_minutes": 0.002, "data_dir": str(tmp_path / f"d{n}")}
        async with running(nats_server.url, book.url, **made):

            async def acted(n: int = n) -> bool:
                nonlocal refused
                refused = refused or "checkpoint_key_refused" in capsys.readouterr().out
                return refused if n == 2 else bool(await book.value("SELECT count(*) FROM checkpoint"))

            await eventually(acted)
    assert await book.value("SELECT count(*) FROM checkpoint_key") == 1
    assert await findings(book, capsys) == []


def test_a_key_whose_file_can_t_be_kept_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        (tmp_path / "file").write_text("")
        where = tmp_path / "file" / "below"
    else:
        where = tmp_path / "ro"
        where.mkdir(mode=0o500)
    with pytest.raises(SettingsError, match="set TOLLGATE_CHECKPOINT_KEY"):
        asyncio.run(signing.keys("", "", str(where), {}))


async def test_anybody_may_ask_for_the_keys_before_there_is_one(
    nats_server: Nats, client: Client, policy: Policy, book: Book
) -> None:
    async with (
        running(nats_server.url, book.url) as ledger,
        aiohttp.ClientSession() as http,
        http.get(ledger.url + "/.well-known/tollgate-ledger-keys") as answer,
    ):
        assert (answer.status, await answer.json()) == (200, {"book": None, "keys": [], "statements": []})
