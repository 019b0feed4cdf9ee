"""What users of other gateways reported of pass-through endpoints: one row a report."""

import base64
import gzip
import json

import pytest

from services.edge.passthrough import record, spoken
from tests.edge.fakes import until
from tests.edge.passthrough.passthrough_kit import KEY, WHO, World, head

WORD = (record.SAID_BY_TARGET,)
PACKED = gzip.compress(b"packed", mtime=0)  # the same bytes each time: they are in the test's name


@pytest.mark.parametrize(
    ("cost", "tokens", "picousd", "counted"),
    [
        ("0.0125", "321", 12_500_000_000, 321),
        ("0.0125", "", 12_500_000_000, 0),
        ("0.0049099999999999994", "x", 4_910_000_000, 0),
        ("1e-05", "-3", 10_000_000, 0),
        ("0", "5", 0, 5),
        ("100", "", 100 * 10**12, 0),
        ("", "5", None, 5),
        ("-1", "", None, 0),
        ("nan", "9" * 30, None, 0),
        ("100.000000000001", "", None, 0),
        ("1e99", "", None, 0),
    ],
)
@pytest.mark.parametrize("operators", [None, 7])
@pytest.mark.parametrize("status", [200, 500])
async def test_a_target_may_say_what_a_call_cost(
    world: World, status: int, operators: int | None, cost: str, tokens: str, picousd: int | None, counted: int
) -> None:
    """Where the operator doesn't. The row says whose word it is; what can't be believed doesn't
    count.
    """

    said = {"x-litellm-response-cost": cost, "x-litellm-total-tokens": tokens}
    world.target.said_status, world.target.said_more = status, {name: value for name, value in said.items() if value}
    world.endpoint(cost_per_request=operators, include_subpath=True)
    answer = await world.ask("/their/said")
    assert answer.status == status and answer.headers.get("x-litellm-response-cost", "") == cost
    settled = await world.settled()
    counted = counted if status == 200 else 0
    assert settled.cost_picousd == (picousd if operators is None else 7 * 10**12)
    assert settled.usage.input_tokens == counted
    assert settled.flags == (WORD if counted or (operators is None and picousd is not None) else ())


@pytest.mark.parametrize(("model", "cost"), [("command-r-plus", 5 * 2_500_000), ("own", 3 * 10**12)])
async def test_a_listed_price_goes_before_a_targets_word(
    world: World, monkeypatch: pytest.MonkeyPatch, model: str, cost: int
) -> None:
    """Also where its answer can't be read, and tokens are only its word."""
    monkeypatch.setattr(spoken, "of", lambda url: spoken.Spoken("", "cohere"))
    world.target.said_more = {"x-litellm-response-cost": "3", "x-litellm-total-tokens": "5"}
    world.endpoint(include_subpath=True)
    body = json.dumps({"model": model}).encode()
    assert (await world.ask("/their/said", body=body, Content_Type="application/json")).status == 200
    settled = await world.settled()
    assert (settled.outcome, settled.cost_picousd, settled.usage.input_tokens) == ("success", cost, 5)
    assert settled.flags == WORD


async def test_what_a_target_says_to_browsers_is_ours_to_say_and_once(world: World) -> None:
    world.target.said_more = {
        "Access-Control-Allow-Origin": "https://theirs", "Access-Control-Allow-Credentials": "true", "Clear-Site-Data": '"*"',
        "Service-Worker-Allowed": "/", "Cross-Origin-Opener-Policy": "x", "x-litellm-call-id": "theirs", "X-Theirs": "1",
    }  # fmt: skip
    world.endpoint(include_subpath=True)
    answer = await world.ask("/their/said", Origin="https://page")
    headers = answer.headers
    assert headers["access-control-allow-origin"] == "*" and headers["x-theirs"] == "1"
    assert not {"access-control-allow-credentials", "clear-site-data", "service-worker-allowed"} & headers.keys()
    assert "cross-origin-opener-policy" not in headers
    assert headers["llm_provider-x-litellm-call-id"] == "theirs" != headers["x-litellm-call-id"]


@pytest.mark.parametrize(("given", "cached"), [({}, "no-cache"), ({"Cache-Control": "no-store"}, "no-store")])
async def test_proxies_before_us_are_told_not_to_collect_events(
    world: World, given: dict[str, str], cached: str
) -> None:
    world.target.said_more, world.target.said_type = {"X-Accel-Buffering": "yes", **given}, "text/event-stream"
    world.endpoint(include_subpath=True)
    answer = await world.ask("/their/said")
    assert (answer.headers["x-accel-buffering"], answer.headers["cache-control"]) == ("no", cached)
    world.target.said_type = "application/json"
    assert "x-accel-buffering" not in (await world.ask("/their/said")).headers


LANGFUSE = {"LANGFUSE_PUBLIC_KEY": "os.environ/SECRET", "LANGFUSE_SECRET_KEY": "b", "custom": "1"}


@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize("parser", [None, "langfuse"])
async def test_langfuses_clients_have_our_key_where_they_have_theirs(
    world: World, parser: str | None, forward: bool
) -> None:
    world.endpoint(headers=LANGFUSE, custom_auth_parser=parser, forward_headers=forward)
    pair = base64.b64encode(f"{KEY}:any".encode()).decode()
    answer = await world.ask(key=None, Authorization=f"Basic {pair}")
    if parser is None:
        assert answer.status == 401 and not world.target.seen
        return
    assert answer.status == 200
    (_, _, headers, _), *_ = world.target.seen
    assert headers["authorization"] == f"Basic {base64.b64encode(b's3cret:b').decode()}" and headers["custom"] == "1"
    assert pair not in str(headers) and not [name for name in headers if "langfuse" in name]
    assert (await world.settled()).opened.caller == WHO
    for wrong in ("Basic !!", "Basic " + base64.b64encode(b":x").decode(), f"Bearer {KEY[:-1]}"):
        assert (await world.ask(key=None, Authorization=wrong)).status == 401
    assert len(world.target.seen) == 1


@pytest.mark.parametrize(
    ("method", "status", "more", "said", "got"),
    [
        ("GET", 204, {}, b"", b""),
        ("GET", 304, {"ETag": '"x"'}, b"", b""),
        ("GET", 307, {"Location": "https://elsewhere/x"}, b"", b""),
        ("GET", 200, {}, b"", b""),
        ("HEAD", 200, {}, b"", b""),
        ("GET", 200, {"Content-Encoding": "gzip"}, PACKED, PACKED),
        ("GET", 200, {"X-Name": "café"}, b"x", b"x"),
        ("DELETE", 410, {}, b"gone", b"gone"),
    ],
)
async def test_whatever_a_target_answers_is_one_whole_answer(
    world: World, method: str, status: int, more: dict[str, str], said: bytes, got: bytes
) -> None:
    """And the connection is good for the next request."""
    world.target.said_status, world.target.said_more, world.target.said = status, more, said
    world.endpoint(include_subpath=True)
    async with await world.edge.connect() as caller:
        for _ in range(2):
            await caller.send(head("/their/said", method))
            answer = await caller.head()
            assert answer.status == status
            if method != "HEAD" and status not in (204, 304):
                if answer.headers.get("transfer-encoding") == "chunked":
                    while piece := await caller.chunk():
                        answer.body += piece
                else:
                    answer.body = await caller.reader.readexactly(int(answer.headers["content-length"]))
            assert answer.body == got
            for name, value in more.items():
                assert answer.headers[name.lower()].encode("latin-1").decode() == value
    await until(lambda: len(world.edge.settled()) == 2)


@pytest.mark.parametrize("query", ["query=foo", "id=1&id=2&e=&u=%C3%A9%20x", "a=b=c&&d"])
async def test_a_query_goes_on_byte_for_byte(world: World, query: str) -> None:
    world.endpoint(methods=["GET"])
    assert (await world.ask(f"/their?{query}", "GET")).status == 200
    assert world.target.seen[-1][1] == f"/base?{query}"


@pytest.mark.parametrize("sent", ["café ☕".encode(), "café".encode("latin-1")], ids=["UTF-8", "Latin-1"])
async def test_letters_of_a_header_arrive_as_they_were_meant(world: World, sent: bytes) -> None:
    world.endpoint(forward_headers=True, headers={"X-Own": "naïve"})
    async with await world.edge.connect() as caller:
        await caller.send(head("/their", "GET", X_Title="@").replace(b"@", sent))
        assert (await caller.answer()).status == 200
    headers = world.target.seen[-1][2]
    assert headers["x-title"] in ("café ☕", "café") and headers["x-own"] == "naïve"
