"""Formats that are a row: images, ranks, moderations go through untouched, with their facts and
their price in the book.
"""

import json
from typing import Any

import msgspec
import pytest

from services.edge.formats import fields as fields_
from services.edge.formats import joined
from shared.billing import Price, Rate
from shared.requests import DecideReply, DecideRequest
from tests.edge.conftest import Start
from tests.edge.fakes import Answer, always, response
from tests.edge.harness import Edge, told

IMAGES = {"created": 1, "data": [{"b64_json": "aGk="}, {"url": "https://x/y.png"}]}
RANKS = {"id": "r-1", "results": [{"index": 1, "relevance_score": 0.9}], "meta": {}}


async def post(edge: Edge, path: str, **fields: Any) -> Answer:
    async with await edge.connect() as caller:
        await caller.post(path, json.dumps({"model": "m", **fields}).encode())
        return await caller.answer()


def priced(edge: Edge, price: Price) -> None:
    def decide(asked: DecideRequest) -> DecideReply:
        grant = edge.grant(asked)
        candidates = [msgspec.structs.replace(each, price=price) for each in grant.candidates]
        return DecideReply(msgspec.structs.replace(grant, candidates=candidates))

    edge.bus.answers["policy.decide"] = decide


async def test_images_pass_untouched_and_cost_by_the_image(start: Start) -> None:
    body = json.dumps(IMAGES).encode()
    edge = await start(always(response(body)))
    priced(edge, Price(None, None, rates=(Rate("image", 40_000_000_000),)))
    answer = await post(edge, "/v1/images/generations", prompt="a cat", n=2, size="1024x1024")
    assert (answer.status, answer.body) == (200, body)
    opened, settled = await told(edge)
    assert (opened.call_type, opened.route, opened.max_cost_picousd) == (
        "aimage_generation",
        "/images/generations",
        None,
    )
    assert (settled.outcome, settled.usage.images, settled.cost_picousd, settled.flags) == (
        "success",
        2,
        80_000_000_000,
        (),
    )
    head, sent = edge.providers[0].heads[0], json.loads(edge.providers[0].bodies[0])
    assert b"POST /v1/images/generations " in head
    assert sent == {"model": "m-upstream", "prompt": "a cat", "n": 2, "size": "1024x1024"}


async def test_images_counted_in_tokens_have_both(start: Start) -> None:
    usage = {"input_tokens": 10, "output_tokens": 400, "total_tokens": 410}
    edge = await start(always(response(json.dumps({**IMAGES, "usage": usage}).encode())))
    await post(edge, "/v1/images/generations", prompt="a cat")
    _, settled = await told(edge)
    assert (settled.usage.input_tokens, settled.usage.output_tokens, settled.usage.images) == (10, 400, 2)


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
async def test_ranks_pass_untouched(start: Start, path: str) -> None:
    body = json.dumps(RANKS).encode()
    edge = await start(always(response(body)))
    answer = await post(edge, path, query="q", documents=["a", "b"])
    assert (answer.status, answer.body) == (200, body)
    opened, settled = await told(edge)
    assert (opened.call_type, settled.outcome, settled.response_id) == ("arerank", "success", "r-1")
    assert b"POST /v1/rerank " in edge.providers[0].heads[0]


@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/rerank", "/v1/moderations"])
async def test_what_is_no_answer_is_an_error_here_too(start: Start, path: str) -> None:
    edge = await start(always(response(b'{"created":1,"data":[],"results":[]}')))
    answer = await post(edge, path, prompt="x", query="x", input="x")
    assert answer.status == 502
    assert (await told(edge))[1].cost_picousd == 0


@pytest.mark.parametrize(
    ("path", "missing"), [("/v1/images/generations", "prompt"), ("/v1/rerank", "query"), ("/v1/moderations", "input")]
)
async def test_what_a_format_cant_do_without_is_named(start: Start, path: str, missing: str) -> None:
    edge = await start(always(response(b"{}")))
    assert (await post(edge, path)).error()["param"] == missing


async def test_a_mock_has_an_answer_for_each(start: Start) -> None:
    edge = await start("mock:hi")
    images = await post(edge, "/v1/images/generations", prompt="x", n=3)
    assert len(images.json()["data"]) == 3
    ranks = await post(edge, "/v1/rerank", query="x", documents=["a", "b"])
    assert [each["index"] for each in ranks.json()["results"]] == [0, 1]


# ── fields joined anew ──


@pytest.mark.parametrize(
    "tree", [{}, {"model": "m"}, {"model": "m", "n": 2, "messages": []}, {"%d, %b": 1, 'a"b': None, "é": [1, 2]}, {",": 1}]
)  # fmt: skip
def test_fields_joined_are_what_they_were_one_by_one(tree: dict[str, Any]) -> None:
    joined.join({name: msgspec.Raw(b"0") for name in tree})  # what is kept of these names says nothing of their values
    tight = json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode()
    raw = {name: msgspec.Raw(json.dumps(value, separators=(",", ":")).encode()) for name, value in tree.items()}
    assert joined.join(raw) == tight
    assert fields_.split(json.dumps(tree).encode())[1] is bool(
        tree and all(name.isascii() and '"' not in name for name in tree)
    )
