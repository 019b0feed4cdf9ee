"""Pass-through endpoints: our key before somebody else's API. What goes on, what doesn't, and who
may.
"""

import itertools
from typing import Any

import msgspec
import pytest

from services.edge.own_headers import OwnHeaders
from services.edge.surfaces.passthrough import model_of
from shared import errors, subjects
from shared import passthrough as entries
from shared.errors import RefusedError
from shared.grant import Denial, Rules
from shared.passthrough import covers
from shared.requests import DecideReply, DecideRequest
from tests.edge.passthrough.passthrough_kit import KEY, WHO, World

# ── what goes on ──


async def test_a_request_goes_on_as_it_is_and_is_in_the_book(world: World) -> None:
    world.endpoint(headers={"Authorization": "Bearer os.environ/SECRET", "X-Own": "1"}, cost_per_request=0.25)
    answer = await world.ask(body=b'{"a": 1}', Content_Type="application/json", X_Other="no")
    assert (answer.status, answer.json()) == (200, {"ok": True})
    ((method, path, headers, body),) = world.target.seen
    assert (method, path, body) == ("POST", "/base", b'{"a": 1}')
    assert (headers["authorization"], headers["x-own"], headers["content-type"]) == (
        "Bearer s3cret",
        "1",
        "application/json",
    )
    assert "x-other" not in headers and KEY not in str(headers)
    assert answer.headers["x-kept"] == "1" and answer.headers["server"] == "tollgate"
    assert "set-cookie" not in answer.headers and "sandbox" in answer.headers["content-security-policy"]
    settled = await world.settled()
    assert (settled.outcome, settled.status, settled.cost_picousd) == ("success", 200, 250_000_000_000)
    assert settled.provider_request_id == "req_theirs"
    opened = settled.opened
    assert (opened.route, opened.call_type, opened.caller) == ("/their", "pass_through_endpoint", WHO)
    assert answer.headers["x-litellm-call-id"] == opened.id


async def test_the_book_has_whose_tags_a_call_has_and_as_much_of_the_address_as_it_may(world: World) -> None:
    world.endpoint()
    edge = world.edge
    edge.parts.own_headers = OwnHeaders(tags=("X-Team",))
    edge.parts.settings = msgspec.structs.replace(edge.parts.settings, edge_requester_ip="none")

    def limited(**fields: Any) -> None:
        edge.bus.answers[subjects.POLICY_DECIDE] = lambda asked: DecideReply(
            edge.grant(asked, tags=["key", "both"], spend_logs_metadata={"ticket": "42"}, **fields)
        )
        edge.grants.forget_all()

    limited()
    assert (await world.ask(X_Litellm_Tags="mine, both", X_Team="blue", X_Litellm_End_User_Id="c1")).status == 200
    opened = (await world.settled()).opened
    assert opened.tags == ["mine", "both", "key", "X-Team: blue"] and opened.requester_ip is None
    assert opened.spend_logs_metadata["ticket"] == "42"
    assert opened.customer_id == "c1"
    limited(rules=Rules(reject_clientside_tags=True))
    assert (await world.ask(X_Litellm_Tags="mine")).status == 400
    assert (await world.ask(X_Team="blue")).status == 200  # the operator's own header is no caller's tag
    limited()
    assert (await world.ask(X_Litellm_Tags="x" * 257)).status == 400
    edge.bus.answers[subjects.POLICY_DECIDE] = lambda asked: DecideReply(
        Denial(errors.blocked_customer("c2"), 1, [], rule="customer")
        if asked.customer_id == "c2"
        else edge.grant(asked)
    )
    edge.grants.forget_all()
    seen = len(world.target.seen)
    assert (await world.ask(X_Litellm_End_User_Id="c2")).status in (400, 403) and len(world.target.seen) == seen


TABLE = list(
    itertools.product([True, False, None], [True, False], [True, False], ["", "/sub/path"], [KEY, None, "sk-stranger"])
)


@pytest.mark.parametrize(("auth", "forward", "subpath", "rest", "key"), TABLE)
async def test_every_combination(
    world: World, auth: bool | None, forward: bool, subpath: bool, rest: str, key: str | None
) -> None:
    """`auth` x `forward_headers` x `include_subpath`, with a good key, none, and one that isn't
    ours.
    """
    given: dict[str, Any] = {"forward_headers": forward, "include_subpath": subpath}
    if auth is not None:
        given["auth"] = auth
    world.endpoint(**given)
    answer = await world.ask(f"/their{rest}", key=key, X_Mine="1")
    if rest and not subpath:
        assert answer.status == 404
        assert not world.target.seen
    elif auth is not False and key != KEY:
        assert answer.status == 401
        assert not world.target.seen
    else:
        assert answer.status == 200
        ((_, path, headers, _),) = world.target.seen
        assert path == "/base" + rest
        assert ("x-mine" in headers) is forward
        assert KEY not in str(headers), "ours never goes on"
        theirs = forward and key == "sk-stranger"
        assert ("sk-stranger" in str(headers)) is theirs, "what isn't ours does, where headers are forwarded"


@pytest.mark.parametrize("carrier", ["x-litellm-api-key", "x-api-key", "api-key", "authorization", "x-key"])
async def test_our_key_stays_here_wherever_it_was(world: World, carrier: str) -> None:
    world.endpoint(forward_headers=True, headers={"litellm_user_api_key": "x-key"})
    value = f"Bearer {KEY}" if carrier == "authorization" else KEY
    answer = await world.ask(
        key=None, **{carrier: value, "X-Copy": f"again {KEY}", "Cookie": "token=x", "X-Pass-Other": "2"}
    )
    assert answer.status == 200
    headers = world.target.seen[0][2]
    assert KEY not in str(headers) and "cookie" not in headers
    assert headers["other"] == "2"


async def test_another_authorization_passes_beside_our_key(world: World) -> None:
    world.endpoint(forward_headers=True)
    answer = await world.ask(
        key=None, **{"x-litellm-api-key": KEY, "Authorization": "Bearer theirs", "X-Pass-Authorization": "no"}
    )
    assert answer.status == 200
    assert world.target.seen[0][2]["authorization"] == "Bearer theirs"


async def test_methods_choose_between_targets(world: World) -> None:
    url = world.target.url
    world.edge.parts.passthrough = entries.read(
        [
            {"path": "/their", "target": f"{url}/read", "methods": ["get"]},
            {"path": "/their", "target": f"{url}/write", "methods": ["POST"]},
        ],
        {},
    )
    assert (await world.ask(method="GET")).status == 200
    assert (await world.ask(method="POST")).status == 200
    assert [path for _, path, _, _ in world.target.seen] == ["/read", "/write"]
    answer = await world.ask(method="DELETE")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")


@pytest.mark.parametrize("rest", ["/../x", "/%2e%2e/x", "/..%2fx", "/a/%2E./b", "/..%5cx", "/a/..", "/%2e"])
async def test_nobody_gets_above_the_target(world: World, rest: str) -> None:
    world.endpoint(include_subpath=True)
    assert (await world.ask(f"/their{rest}")).status == 404
    assert not world.target.seen


async def test_websocket_is_refused_with_a_sentence(world: World) -> None:
    world.endpoint()
    answer = await world.ask(method="GET", Upgrade="websocket", Connection="Upgrade")
    assert answer.status == 400 and "WebSocket" in answer.json()["error"]["message"]


# ── who may ──


async def test_lists_of_keys_and_teams(world: World) -> None:
    world.endpoint()
    edge = world.edge

    def limited(**fields: Any) -> None:
        edge.bus.answers[subjects.POLICY_DECIDE] = lambda asked: DecideReply(edge.grant(asked, **fields))
        edge.grants.forget_all()

    for allowed, denied, status in (
        (["/their"], [], 200), (["/th*"], [], 200), (["/other"], [], 403), ([], [], 403), (None, ["/their"], 403), (["/their"], ["/their"], 403),
    ):  # fmt: skip
        limited(passthrough_routes=allowed, passthrough_denied=denied)
        answer = await world.ask()
        assert answer.status == status, (allowed, denied)
    assert "not allowed to access passthrough route /their" in answer.json()["error"]["message"]
    assert covers(["/a"], "/a/b") and not covers(["/a"], "/ab") and covers(["/a*"], "/ab")


async def test_a_model_the_caller_may_not_use_is_refused(world: World) -> None:
    world.endpoint()
    edge = world.edge

    def decide(asked: DecideRequest) -> DecideReply:
        if asked.model == "forbidden":
            return DecideReply(Denial(errors.model_not_allowed("forbidden"), 1, ["x"], WHO, "key_models"))
        return DecideReply(edge.grant(asked))

    edge.bus.answers[subjects.POLICY_DECIDE] = decide
    answer = await world.ask(body=b'{"model": "forbidden"}', Content_Type="application/json")
    assert (answer.status, answer.json()["error"]["type"]) == (403, "key_model_access_denied")
    assert not world.target.seen
    assert (await world.ask(body=b'{"model": "m"}', Content_Type="application/json")).status == 200
    for twice in (
        b'{"model": "m", "model": "forbidden"}',
        b'{"Model": "forbidden", "model": "m"}',
        b'{"model":"m","\\u006dodel":"forbidden"}',
    ):
        answer = await world.ask(body=twice, Content_Type="application/json")
        assert answer.status in (400, 403), twice
    assert len(world.target.seen) == 1


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"model": "a"}', "a"),
        (b'{"x": {"model": "b"}, "model": "a"}', "a"),
        (b'{"x": 1}', ""),
        (b"[]", ""),
        (b"{", ""),
        (b'{"model": 5}', ""),
        (b'{"model": "a", "x": "\\"model\\""}', "a"),
        (b'{"model": "a", "model": "b"}', None),
        (b'{"MODEL": "a"}', None),
    ],
)
def test_which_model_a_body_names(body: bytes, model: str | None) -> None:
    if model is None:
        with pytest.raises(RefusedError):
            model_of(body)
    else:
        assert model_of(body) == model


async def test_a_model_that_the_path_names_is_held_to_the_list_too(world: World) -> None:
    def decide(asked: DecideRequest) -> DecideReply:
        if asked.model == "gemini-forbidden":
            return DecideReply(Denial(errors.model_not_allowed(asked.model, "key"), 1, [], WHO, "key_models"))
        grant = world.edge.grant(asked)
        assert not isinstance(grant, Denial)
        return DecideReply(grant.__class__(WHO, asked.route, asked.model, 1, []))

    world.edge.bus.answers[subjects.POLICY_DECIDE] = decide
    world.endpoint(include_subpath=True)
    answer = await world.ask(
        "/their/models/gemini-forbidden:generateContent", body=b"{}", content_type="application/json"
    )
    assert answer.status in (401, 403) and not world.target.seen
    assert (await world.ask("/their/models/gemini-fine:generateContent", body=b"{}")).status == 200
