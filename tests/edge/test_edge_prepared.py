"""What is worked out once for many requests is what each of them would have come to by itself."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.clock import Clock
from services.edge.formats.base import NO_HINTS, Hints
from services.edge.formats.openai import CHAT
from services.edge.prepared import Prepared
from shared import admission, errors
from shared.admission.predicates import BINDS, PREDICATES
from shared.facts import Settled
from shared.grant import Ask, Candidate, Denial, Grant, GuardrailRef, Rules
from shared.ids import DeploymentId, digest_key
from shared.requests import DecideReply, DecideRequest
from tests.edge.fakes import Provider as FakeProvider
from tests.edge.fakes import always, completion, response, until
from tests.edge.harness import CALLER, PRICE, Edge

ONE = Candidate(DeploymentId("d"), "openai", "up", PRICE)
GUARDRAIL = GuardrailRef("pii", ["pre_call"])
grants = st.builds(
    Grant,
    st.just(CALLER), st.just("/chat/completions"), st.just("m"), st.just(1), st.just(["control.key.x"]),
    candidates=st.sampled_from([[], [ONE], [ONE, ONE]]),
    expires_at_ms=st.sampled_from([None, 1_000]),
    tags=st.sampled_from([[], ["a"]]),
    spend_logs_metadata=st.sampled_from([{}, {"x": 1}]),
    guardrails=st.sampled_from([[], [GUARDRAIL]]),
    rules=st.builds(
        Rules,
        allowed_ips=st.sampled_from([[], [["10.0.0.0/8"]]]),
        enforced_params=st.sampled_from([[], ["user"], ["temperature"]]),
        reject_clientside_tags=st.booleans(),
        may_modify_guardrails=st.booleans(),
        known_guardrails=st.sampled_from([{}, {"pii": GUARDRAIL}]),
        by_permission=st.sampled_from([{}, {"p": GUARDRAIL}]),
    ),
)  # fmt: skip
plain = st.dictionaries(
    st.sampled_from(["temperature", "stream", "n", "tools", "disable_global_guardrails", "x"]),
    st.booleans(),
    max_size=3,
)


def read(hints: Hints | None = None, **fields: Any) -> Any:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}
    return CHAT.read(json.dumps(body).encode(), hints or NO_HINTS)


@given(grants, plain, st.sampled_from([0, 999, 1_000, 5_000]), st.sampled_from([None, "10.0.0.1", "192.0.2.1"]))
def test_the_standing_permit_is_what_each_plain_request_would_get(
    grant: Grant, fields: dict[str, bool], now_ms: int, ip: str | None
) -> None:
    class At(Clock):
        def unix_ms(self) -> int:
            return now_ms

    call = read(**{name: value for name, value in fields.items() if name not in ("stream", "n", "tools")})
    assert call.plain
    standing = Prepared(grant).permit_at(At())
    if standing is not None:
        ask = Ask(call.tags, call.spend_logs_metadata, ip, call.fields, call.model, call.customer_id, None)
        assert standing == admission.permit(grant, ask, now_ms, lambda: 0.5)


def test_most_grants_have_one() -> None:
    usual = Grant(CALLER, "/chat/completions", "m", 1, [], [ONE], rules=Rules(known_guardrails={"pii": GUARDRAIL}))
    assert Prepared(usual).permit is not None
    assert Prepared(Denial(errors.no_key(), 1, [])).permit is None


def test_each_rule_says_when_it_binds() -> None:
    """One that was forgotten counts as binding always: every request is looked at again, and calls
    get slower.
    """
    assert set(BINDS) == set(PREDICATES)


@pytest.mark.parametrize(
    "said",
    [
        {"user": "u"}, {"metadata": {}}, {"litellm_metadata": {}}, {"tags": ["a"]}, {"guardrails": ["pii"]}, {"timeout": 3},
        {"num_retries": 1}, {"fallbacks": ["f"]}, {"cache": {}}, {"no-log": True}, {"disable_fallbacks": True},
    ],
)  # fmt: skip
def test_what_a_request_says_of_its_own_isnt_plain(said: dict[str, Any]) -> None:
    assert not read(**said).plain
    assert not read(Hints("a")).plain and not read(Hints(routing=True)).plain


async def test_two_keys_on_one_connection_are_two_callers() -> None:
    """What was found out about one key isn't held for another, in whatever header it comes."""
    keys = {digest_key(f"sk-key-{n}"): msgspec.structs.replace(CALLER, key_alias=f"k{n}") for n in range(3)}
    async with FakeProvider(always(response(completion()))) as provider, Edge({"m": [provider.url]}) as edge:

        def decide(asked: DecideRequest) -> DecideReply:
            grant = edge.grant(asked)
            assert isinstance(grant, Grant)
            return DecideReply(msgspec.structs.replace(grant, caller=keys[asked.key_sha256]))

        edge.bus.answers["policy.decide"] = decide
        headers = [
            {"Authorization": "Bearer sk-key-0"}, {"Authorization": "Bearer sk-key-1"}, {"Authorization": "Bearer sk-key-1"},
            {"x-api-key": "sk-key-2"}, {"Authorization": "Bearer sk-key-1"}, {"x-litellm-api-key": "sk-key-0"},
        ]  # fmt: skip
        async with await edge.connect() as caller:
            for each in headers:
                body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).encode()
                lines = "".join(f"{name}: {value}\r\n" for name, value in each.items())
                await caller.send(
                    f"POST /v1/chat/completions HTTP/1.1\r\nHost: e\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                assert (await caller.answer()).status == 200
        await until(lambda: len(edge.settled()) == len(headers))
        told = [fact.opened.caller.key_alias for fact in edge.settled()]
        assert told == ["k0", "k1", "k1", "k2", "k1", "k0"]


async def test_a_fallbacks_row_names_who_answered_and_equals_what_was_opened_otherwise() -> None:
    failing, good = always(response(b"{}", "503 X")), always(response(completion()))
    async with FakeProvider(failing) as one, FakeProvider(good) as two, Edge({"m": [one.url, two.url]}) as edge:
        for _ in range(3):
            assert (await edge.chat()).status == 200
        settled = edge.settled()
    assert len(settled) == 3 and all(isinstance(fact, Settled) for fact in settled)
    assert {fact.opened.deployment_id for fact in settled} == {"m-1"}
