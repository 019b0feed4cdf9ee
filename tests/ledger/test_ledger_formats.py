"""What was written yesterday is proved tomorrow: each format of evidence has a golden vector, and
an old book is found whole.
"""

import asyncio
import hashlib
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from services.ledger import batch_chain, formats, price, price_bodies, rows
from services.ledger.batch_chain import Made
from services.ledger.chain import Link
from services.ledger.database import SQL
from shared.billing import Price, Rate, Usage
from shared.facts import Caller, GuardrailOutcome, Opened, Settled
from shared.ids import DeploymentId, KeyDigest, RequestId
from tests.ledger.ledger_kit import Book, Told, findings, opened, settled
from tests.ledger.servers import Postgres

DAY = date(2024, 10, 1)
COMMON: dict[str, Any] = {
    "day": DAY, "id": "01920000-0000-7000-8000-000000000001", "provisional": False, "outcome": "success", "status": 200,
    "at_ms": 1732600000000, "first_byte_at_ms": 1732600000400, "ended_at_ms": 1732600001000, "edge_id": "edge-1",
    "key_sha256": "ab" * 32, "key_alias": "alias", "team_id": "team-a", "team_alias": "Team A", "user_id": "alice",
    "organization_id": "org-1", "role": "internal_user", "customer_id": "c1", "call_type": "acompletion",
    "route": "/chat/completions", "model": "gpt", "deployment_id": "d1", "provider": "openai", "upstream_model": "gpt-4o-mini",
    "response_model": "gpt-4o-mini-2024-07-18", "response_id": "chatcmpl-1", "litellm_call_id": "call-1", "stream": True,
    "attempts": 2, "error_code": None, "refused_by": None, "input_tokens": 100, "output_tokens": 20, "cached_tokens": 30,
    "cache_write_tokens": 5, "reasoning_tokens": 7, "usage_source": "provider", "cost_picousd": 27000000,
    "max_cost_picousd": 1000000000,
    "price": '{"input_picousd":150000,"output_picousd":600000,"cache_read_picousd":75000,"cache_write_picousd":null,'
             '"request_picousd":0,"source":"table","version":"v1"}',
    "tags": ["a", "ü"], "spend_logs_metadata": '{"hello":"wörld"}', "requester_ip": "10.0.0.1", "user_agent": "curl/8",
    "guardrails": '["pii"]', "guardrail_outcomes": '[{"name":"pii","stage":"pre_call","action":"allow","duration_ms":1.5}]',
    "altered": None, "fact_sha256": b"\x07" * 32, "stream_seq": 42,
}  # fmt: skip
UNITS: dict[str, Any] = {
    "cache_write_1h_tokens": 3, "audio_input_tokens": None, "cached_audio_tokens": None, "image_input_tokens": None,
    "audio_output_tokens": 4, "image_output_tokens": None, "input_characters": None, "output_characters": None,
    "input_ms": 2500, "output_ms": None, "input_images": None, "images": None, "input_pixels": None, "pixels": None,
    "searches": 2, "search_context": "high", "service": "flex", "flags": ["unpriced:search"], "session_id": "s-1",
    "log_off": ["langfuse"],
}  # fmt: skip
NOTHING = dict.fromkeys(UNITS)
REQUEST_ID = {"provider_request_id": "req_1"}
NOTHING_SAID = dict.fromkeys(REQUEST_ID)
RATED = (
    '{"input_picousd":"1/3","output_picousd":600000,"cache_read_picousd":null,"cache_write_picousd":null,"request_picousd":0,'
    '"source":"config","version":"v1","rates":[{"unit":"input","picousd":300000,"above_tokens":200000},'
    '{"unit":"output","picousd":"5/7","service":"flex"},{"unit":"image","picousd":0}]}'
)
GOLDEN = {
    1: (COMMON | NOTHING, "95dea49251f7d194a5e78c3e85b73fc8f65a319fadc5af96bf961189bbac9c07",
        "02c056e362d29e9e16096a8a5b68935f02ba2779f3d05659b1ef36e35d4eade0"),
    2: (COMMON | UNITS | {"price": RATED}, "9edccae8eda12a848d1b933ad3ad01b77b6c7100aa52785ba77a50347d77691f",
        "e22fb8d010bd128336004d9558e767ce396aa343c45571d57978c1ff447f9069"),
    3: (COMMON | UNITS | {"price": price.reference(price.digest_of(RATED))},
        "27c7314d752f2adc1f60cc65efad42cb03e97702df564c783ed75644930348b2", "ecf513338e491b980de9f1a23162d994e27aca60b9ab3962bd0a74e41cb014ff"),
    4: (COMMON | UNITS | REQUEST_ID | {"price": price.reference(price.digest_of(RATED))},
        "57d099b9d9f01e96418a188868478b1d684c9696c59e82a9211fc0cb0507f5bd", "34c5b704ab1d60ec2079b1eab564d0c6aa81d1fcd0f74d2a7553b551e526e956"),
}  # fmt: skip
"""Format: a row, its digest, and the hash of a batch of it alone. Format 1's were computed by the
code of that time (e59dc7f).
"""


def fact(price: Price, usage: Usage, **more: Any) -> Settled:
    asked = {name: more.pop(name) for name in ("session_id", "log_off") if name in more}
    call = Opened(
        RequestId(COMMON["id"]), COMMON["at_ms"], "edge-1",
        Caller(KeyDigest("ab" * 32), "alias", "team-a", "Team A", "alice", "org-1", "internal_user"), "acompletion",
        "/chat/completions", "gpt", DeploymentId("d1"), "openai", "gpt-4o-mini", price, True, "c1", ["a", "ü"],
        {"hello": "wörld"}, "10.0.0.1", "curl/8", ["pii"], 10**9, "call-1", 1732600600000, **asked,
    )  # fmt: skip
    return Settled(
        call, COMMON["ended_at_ms"], "success", 200, usage, 27_000_000, COMMON["first_byte_at_ms"], "chatcmpl-1",
        "gpt-4o-mini-2024-07-18", 2, None, [GuardrailOutcome("pii", "pre_call", "allow", 1.5)], **more,
    )  # fmt: skip


def test_a_row_holds_what_its_fact_says_cell_for_cell() -> None:
    plain = fact(Price(150_000, 600_000, 75_000, None, 0, "table", "v1"), Usage(100, 20, 30, 5, 7, "provider"))
    usage = Usage(
        100, 20, 30, 5, 7, "provider", cache_write_1h_tokens=3, audio_output_tokens=4, input_ms=2500, searches=2,
        search_context="high", service="flex",
    )  # fmt: skip
    rates = (Rate("input", 300_000, 200_000), Rate("output", (5, 7), service="flex"), Rate("image", 0))
    charged = Price((1, 3), 600_000, source="config", version="v1", rates=rates)
    said = {"flags": ("unpriced:search",), "provider_request_id": "req_1"}
    full = fact(charged, usage, session_id="s-1", log_off=["langfuse"], **said)
    plain_cells = GOLDEN[1][0] | NOTHING_SAID | {"price": price.reference(price.digest_of(GOLDEN[1][0]["price"]))}
    for one, cells in ((plain, plain_cells), (full, GOLDEN[4][0])):
        row = rows.settled_row(one, COMMON["id"], DAY, b"\x07" * 32, 42)
        listed = [list(cell) if isinstance(cell, tuple) else cell for cell in row]
        assert dict(zip(rows.COLUMNS, listed, strict=True)) == cells
    assert batch_chain.manifest([row])[16:].hex() == GOLDEN[4][1]
    assert rows.price_body(charged) == RATED


@pytest.mark.parametrize("number", GOLDEN)
def test_golden_vectors(number: int) -> None:
    cells, leaf, link = GOLDEN[number]
    found = batch_chain.leaf_read(NOTHING_SAID | cells, number)
    assert found is not None and found.hex() == leaf
    in_order = [cells[name] for name in formats.FORMATS[number]]
    assert hashlib.sha256(msgspec.msgpack.encode(in_order)).hexdigest() == leaf
    manifest = bytes.fromhex(COMMON["id"].replace("-", "") + leaf)
    assert batch_chain.link(Link(7, b"\x05" * 32), 3, Made(40, 44, 1000), 1, manifest, number).sha256.hex() == link


def test_every_format_has_a_vector_and_a_cell_it_doesnt_know_spoils_a_row() -> None:
    assert set(GOLDEN) == set(formats.FORMATS)
    assert batch_chain.leaf_read(COMMON | NOTHING | NOTHING_SAID | {"images": 0}, 1) is None


@pytest.fixture
async def old_book(database_url: str) -> Book:
    """A book as the code of e59dc7f left it: expired, outranked, refused, altered and open calls,
    two shards, three changes.
    """
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE SCHEMA tollgate; SET search_path = tollgate")
    await connection.execute(
        "CREATE TABLE schema_migration (name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    await connection.execute((SQL / "migrations/0001_book.sql").read_text("utf-8"))
    await connection.execute((Path(__file__).parent / "old/e59dc7f.sql").read_text("utf-8"))
    await connection.close()
    return Book(database_url)


async def test_an_old_book_is_whole_under_the_new_code_and_goes_on(old_book: Book, capsys: Told) -> None:
    await old_book.open()
    try:
        assert await findings(old_book, capsys) == []
        assert await old_book.rollups_agree()
        for _ in range(2):
            await old_book.post(settled(opened(tags=["new"])))
        assert await findings(old_book, capsys) == []
        batches = await old_book.fetch("SELECT format, count(*) AS n FROM batch_log GROUP BY 1 ORDER BY 1")
        assert [tuple(row.values()) for row in batches] == [(1, 5), (formats.CURRENT, 2)]
        await old_book.owner.execute("SET session_replication_role = replica")
        await old_book.owner.execute(
            "UPDATE request_log SET searches = 1 WHERE batch = 3 AND shard = 0 AND customer_id = 'c1'"
        )
        assert [line.split()[0] for line in await findings(old_book, capsys)] == ["changed"]
    finally:
        await old_book.close()


def test_what_an_old_ledger_writes_into_the_new_schema_is_whole(postgres: Postgres, capsys: Told) -> None:
    """It names its columns, and knows nothing of formats: its rows and batches are of format 1."""

    async def check() -> None:
        url = await postgres.new_database()
        book = Book(url)
        await book.open()
        batch_columns = "shard, n, previous_sha256, sha256, first_seq, last_seq, at_ms, rows, manifest"
        cells = COMMON | {"tags": COMMON["tags"]}
        manifest = bytes.fromhex(COMMON["id"].replace("-", "") + GOLDEN[1][1])
        link = batch_chain.link(Link(0, bytes(32)), 0, Made(1, 1, 1000), 1, manifest, 1)
        async with book.owner.transaction():
            await book.owner.copy_records_to_table(
                "request_log", records=[(*cells.values(), 0, 1)], columns=[*cells, "shard", "batch"]
            )
            await book.owner.execute(
                f"INSERT INTO batch_log ({batch_columns}) VALUES (0, 1, $1, $2, 1, 1, 1000, 1, $3)",
                bytes(32),
                link.sha256,
                manifest,
            )
            await book.owner.execute(
                "INSERT INTO stream_position (stream, shard, seq, chain_n, chain_sha256) VALUES ('TRAFFIC', 0, 1, 1, $1)",
                link.sha256,
            )
        assert await findings(book, capsys) == []
        await book.close()
        await postgres.drop_database(url)

    asyncio.run(check())


async def test_prices_are_kept_once_and_shown_as_they_were(book: Book, capsys: Told) -> None:
    """A price whose body was changed, or is gone, is found; rows are small."""
    await book.post(settled(), settled(), settled(opened(price=None)))
    await book.post(settled(opened(price=Price(1, 2))))
    found = await book.fetch("SELECT sha256, body FROM price")
    assert len(found) == 2 and all(price.digest_of(row["body"]) == row["sha256"] for row in found)
    assert await book.value("SELECT max(length(price::text)) FROM request_log") == 52
    raw = await book.fetch("SELECT * FROM request_log ORDER BY id")
    whole = await price_bodies.resolved(book.owner.fetch, raw)
    assert [row["price"] and msgspec.json.decode(row["price"])["input_picousd"] for row in whole] == [
        150_000,
        150_000,
        None,
        1,
    ]
    assert await findings(book, capsys) == []
    await book.owner.execute("SET session_replication_role = replica")
    await book.owner.execute("UPDATE price SET body = '{}' WHERE sha256 = $1", found[0]["sha256"])
    assert [line.split()[:3] for line in await findings(book, capsys)] == [
        ["changed", "price", f"{found[0]['sha256']}:"]
    ]
    await book.owner.execute("DELETE FROM price WHERE sha256 = $1", found[0]["sha256"])
    assert [line.split()[:3] for line in await findings(book, capsys)] == [
        ["missing", "price", f"{found[0]['sha256']}:"]
    ]
    price_bodies._bodies.clear()
    (first, *_) = await price_bodies.resolved(book.owner.fetch, raw)
    assert first["price"] in (price.reference(found[0]["sha256"]), found[1]["body"], found[0]["body"])
