"""Management calls: no raw key reaches the bus, and the client gets back what it sent."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge import front
from services.edge.surfaces import management as admin
from shared import subjects
from shared.config import parse
from shared.errors import RefusedError
from shared.ids import digest_key
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.requests import AdminReply
from shared.routes import TABLE
from tests.edge.fakes import Answer
from tests.edge.harness import Edge

RAW = "sk-the-raw-key-0123456789"
DIGEST = digest_key(RAW)


def hide(sent: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    echo: dict[str, str] = {}
    return admin._hide(sent, echo), echo


# ── pure ──


@pytest.mark.parametrize("field", ["key", "keys", "key_hash", "api_key", "token"])
@pytest.mark.parametrize(
    "value", [RAW, [RAW, "x"], [[RAW]], {"key": RAW}, [{"a": {"b": RAW}}], f"Bearer {RAW}", f" {RAW}", f"\n{RAW}"]
)
def test_a_key_field_leaves_without_a_raw_key_whatever_its_shape(field: str, value: Any) -> None:
    hidden, _ = hide({field: value, "models": ["m"]})
    assert RAW not in json.dumps(hidden)
    assert hidden["models"] == ["m"]


def test_a_key_is_replaced_by_its_digest_and_a_digest_stays() -> None:
    hidden, echo = hide({"key": RAW, "keys": [RAW, DIGEST, "ab" * 32]})
    assert hidden == {"key": DIGEST, "keys": [DIGEST, DIGEST, "ab" * 32]}
    assert echo == {DIGEST: RAW}


@pytest.mark.parametrize(
    "sent",
    [
        {"metadata": {"a": [{"b": RAW}]}},
        {"metadata": {RAW: 1}},
        {"metadata": {"a": {RAW: {RAW: [RAW]}}}},
        {RAW: 1},
        {"invented": [RAW]},
        {"metadata": {"note": f" Bearer {RAW} "}},
        {"models": [RAW]},
    ],
)
def test_a_key_is_hidden_wherever_a_value_or_a_name_is_one(sent: dict[str, Any]) -> None:
    hidden, _ = hide(sent)
    assert RAW not in json.dumps(hidden) and DIGEST in json.dumps(hidden).replace(digest_key(f" Bearer {RAW} "), DIGEST)


def test_other_fields_stay_as_they_are() -> None:
    sent = {
        "metadata": {"say": "keys begin with sk- and", "x": "sk-short"},
        "key_alias": "sk-alias",
        "team_id": "task-1",
    }
    assert hide(sent)[0] == sent


KEYS = st.text("abc", min_size=3, max_size=8).map(lambda t: f"sk-{t}-0123456789")
SHAPE = st.recursive(
    st.none() | st.integers() | KEYS | KEYS.map(lambda k: f"x {k}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)


@given(value=SHAPE)
def test_no_shape_of_a_key_field_leaks(value: Any) -> None:
    hidden, _ = hide({"keys": value})
    assert "sk-" not in json.dumps(hidden)


def mint(sent: dict[str, Any], path: str = "/key/generate") -> tuple[str | None, dict[str, Any]]:
    hidden, _ = hide(sent)
    return admin._mint(TABLE.by_name[path], sent, hidden), hidden


def test_a_new_key_is_minted_here_and_only_its_digest_goes() -> None:
    key, hidden = mint({"models": ["m"], "token": "ab" * 32, "key_name": "x"})
    assert key is not None
    assert key.startswith("sk-")
    assert len(key) == 25
    assert hidden == {"models": ["m"], "token": digest_key(key), "key_name": f"sk-...{key[-4:]}"}
    assert mint({"key": None})[0] != key


def test_a_chosen_key_is_taken_if_it_is_one() -> None:
    key, hidden = mint({"key": RAW})
    assert key == RAW
    assert hidden == {"token": DIGEST, "key_name": f"sk-...{RAW[-4:]}"}


@pytest.mark.parametrize(
    "key", ["", "abc-0123456789012345", "sk-short", "sk-" + "x" * 510, "sk-line\nbreak-0123456789", 5, [RAW], True]
)
def test_a_chosen_key_that_is_none_is_refused(key: Any) -> None:
    with pytest.raises(RefusedError) as refused:
        mint({"key": key})
    assert (refused.value.refusal.status, refused.value.refusal.param) == (400, "key")
    assert RAW not in refused.value.refusal.message


def test_where_nobody_may_choose_a_key_nobody_does() -> None:
    route = TABLE.by_name["/key/generate"]
    with pytest.raises(RefusedError) as refused:
        admin._mint(route, {"key": RAW}, {}, may_choose=False)
    assert (refused.value.refusal.status, refused.value.refusal.param) == (403, "key")
    assert admin._mint(route, {}, {}, may_choose=False)
    config = parse("general_settings: {disable_custom_api_keys: true}", {})
    outbound = Outbound(OutboundSettings(), Guard(any_address=True))
    assert front.build(config, {}, outbound)["keys_chosen"] is False
    assert front.build(parse("", {}), {}, outbound)["keys_chosen"] is True


def test_only_generate_mints() -> None:
    assert mint({"key": RAW}, "/key/update")[0] is None


def test_what_the_client_sent_is_put_back_and_nothing_else_is_touched() -> None:
    body = json.dumps(
        {"key": DIGEST, "deleted_keys": [DIGEST, "other", 5], "token": DIGEST, "info": {"key": DIGEST}}
    ).encode()
    assert json.loads(admin._show(body, {DIGEST: RAW})) == {
        "key": RAW,
        "deleted_keys": [RAW, "other", 5],
        "token": DIGEST,
        "info": {"key": DIGEST},
    }
    assert admin._show(b"anything", {}) == b"anything"
    assert admin._show(b"[1]", {DIGEST: RAW}) == b"[1]"


# ── over HTTP ──


async def ask(
    edge: Edge, path: str, body: Any = None, method: str = "POST", headers: dict[str, str] | None = None
) -> Answer:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    async with await edge.connect() as caller:
        if method == "POST":
            await caller.post(path, raw, headers)
        else:
            await caller.send(f"{method} {path} HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer {RAW}\r\n\r\n".encode())
        return await caller.answer()


async def test_a_generated_key_goes_to_the_client_and_its_digest_to_policy() -> None:
    async with Edge({"m": ["mock:x"]}) as edge:
        answer = await ask(edge, "/key/generate", {"models": ["m"]})
        key = answer.json()["key"]
        assert key.startswith("sk-")
        (question,) = edge.bus.asked
        assert question.body["token"] == digest_key(key)
        assert not any(key.encode() in sent for sent in edge.bus.sent)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/key/generate", {"key": RAW}),
        ("/key/update", {"key": RAW, "models": []}),
        ("/key/delete", {"keys": [RAW]}),
        ("/key/block", {"key": RAW}),
        (f"/key/info?key={RAW}", None),
        (f"/key/list?key_hash={RAW}", None),
    ],
)
async def test_no_raw_key_is_on_the_bus_neither_the_callers_nor_the_one_it_is_about(path: str, body: Any) -> None:
    async with Edge({"m": ["mock:x"]}) as edge:
        answer = await ask(edge, path, body, "GET" if body is None else "POST", {"Authorization": f"Bearer {RAW}"})
        assert answer.status == 200
        (question,) = edge.bus.asked
        assert question.key_sha256 == DIGEST
        assert DIGEST in str(question.body) + str(question.query)
        assert not any(RAW.encode() in sent for sent in edge.bus.sent)


async def test_what_a_call_changed_is_forgotten_before_its_answer() -> None:
    async with Edge({"m": ["mock:x"]}) as edge:
        assert (await edge.chat()).status == 200
        edge.bus.answers[subjects.POLICY_ADMIN] = lambda _: AdminReply(200, b"{}", 9, ["control.key.test"])
        await ask(edge, "/key/block", {"key": RAW})
        assert not edge.grants._entries
        assert edge.grants.seen_seq == 9


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/key/generate", {"key_alias": RAW}),
        ("/key/update", {"key": "ab" * 32, "key_alias": RAW}),
        ("/key/delete", {"key_aliases": ["fine", RAW]}),
        ("/key/generate", {"metadata": {"owner": RAW}}),
        ("/key/generate", {"metadata": {RAW: 1}, "nobody_knows_this": [RAW]}),
    ],
)
async def test_a_key_given_for_a_name_or_anywhere_else_never_reaches_the_bus(path: str, body: Any) -> None:
    """As a name it is refused: stored, its digest would be one that nobody finds again."""
    async with Edge({"m": ["mock:x"]}) as edge:
        answer = await ask(edge, path, body)
        named = "key_alias" in body or "key_aliases" in body
        assert answer.status == (400 if named else 200)
        if named:
            assert "looks like a key" in answer.error_message()
            assert not edge.bus.asked
        assert not any(RAW.encode() in sent for sent in edge.bus.sent)


async def test_policys_refusals_pass_with_their_status() -> None:
    async with Edge({"m": ["mock:x"]}) as edge:
        body = b'{"error":{"message":"no","type":"auth_error","param":null,"code":"403"}}'
        edge.bus.answers[subjects.POLICY_ADMIN] = lambda _: AdminReply(403, body, 1)
        answer = await ask(edge, "/key/generate", {"key": RAW})
        assert (answer.status, answer.body) == (403, body)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"x",
        b'{"a":',
        b'{"a":"\xff"}',
        b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"keys":' + b"[" * 700 + b"]" * 700 + b"}",
        b'{"a":1e999}',
        b'{"max_budget":' + b"9" * 400 + b"}",
        b'{"a":18446744073709551616}',
        b'{"a":"\\ud800"}',
    ],
)
async def test_a_body_that_cannot_travel_is_a_bad_request(body: bytes) -> None:
    async with Edge({"m": ["mock:x"]}) as edge:
        answer = await ask(edge, "/key/generate", body)
        assert answer.status == 400
        assert answer.error()["type"] == "invalid_request_error"
        assert edge.bus.sent == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_past_its_limit_is_refused_however_it_comes(chunked: bool) -> None:
    body = json.dumps({"metadata": {"x": "y" * admin.BODY_BYTES_MAX}}).encode()
    async with Edge({"m": ["mock:x"]}) as edge, await edge.connect() as caller:
        if chunked:
            head = b"POST /key/generate HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n"
            await caller.send(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        else:
            await caller.post("/key/generate", body)
        answer = await caller.answer()
        assert answer.status == 413
        assert answer.error()["param"] == "content-length"
        assert edge.bus.sent == []


async def test_headers_that_are_not_text_do_not_break_a_call() -> None:
    async with Edge({"m": ["mock:x"]}) as edge:
        answer = await ask(edge, "/team/new", {}, headers={"litellm-changed-by": "\xff\xfe", "User-Agent": "\xff"})
        assert answer.status == 200
        assert edge.bus.asked[0].on_behalf_of == "??"


async def test_a_policy_that_does_not_answer_is_a_503_that_says_whether_the_change_may_have_happened() -> None:
    async with Edge({"m": ["mock:x"]}) as edge:
        edge.bus.answers[subjects.POLICY_ADMIN] = None
        changing, asking = await ask(edge, "/key/generate", {}), await ask(edge, "/key/info", method="GET")
        assert (changing.status, asking.status) == (503, 503)
        assert "unknown" in changing.error()["message"]
        assert "unknown" not in asking.error()["message"]
        edge.bus.is_connected = False
        assert "unknown" not in (await ask(edge, "/key/generate", {})).error()["message"]
