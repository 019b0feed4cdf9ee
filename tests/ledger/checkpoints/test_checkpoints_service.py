"""Checkpoints and their keys in a running ledger: signed in time, copied to other places, shown to
anybody. On a real PostgreSQL.
"""

import asyncio
import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from nats.aio.client import Client

from services.ledger import copies, proofs, signing
from services.ledger.checkpoint import SigningKey
from services.ledger.copies import Copies, CopyError
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.settings import SettingsError
from tests.ledger.ledger_kit import Book, Policy, Told, eventually, findings, running
from tests.ledger.servers import Nats
from tests.ledger.signing import KEY, rewrite_batches, sign
from tests.support.serving import handled_by, serving


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
