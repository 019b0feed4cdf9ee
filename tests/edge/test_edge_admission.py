"""What the edge itself looks at of every request: addresses, parameters, and the customer it is
made for.
"""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge import configured
from shared import addresses, errors, subjects
from shared.addresses import behind_proxies, network
from shared.config import ConfigError
from shared.facts import Refused
from shared.grant import Denial, Grant, Rules
from shared.requests import DecideReply, DecideRequest
from tests.edge.harness import Edge, told


def grants(edge: Edge, rules: Rules, customer: Any = None) -> list[DecideRequest]:
    """Policy gives everybody these rules, and says `customer` of every customer."""
    asked: list[DecideRequest] = []

    def answer(question: DecideRequest) -> DecideReply:
        asked.append(question)
        if question.customer_id is not None and customer is not None:
            return DecideReply(customer)
        made = edge.grant(question)
        assert isinstance(made, Grant)
        return DecideReply(msgspec.structs.replace(made, rules=rules))

    edge.bus.answers[subjects.POLICY_DECIDE] = answer
    return asked


async def chat(edge: Edge, headers: bytes = b"", **fields: Any) -> Any:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}).encode()
    async with await edge.connect() as caller:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer sk-a-key-0123456789\r\n"
        await caller.send(head + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return await caller.answer()


async def test_an_address_outside_the_lists_is_refused_before_the_body() -> None:
    async with Edge({"m": ["mock:x"]}) as edge:
        grants(edge, Rules(allowed_ips=[["127.0.0.0/8"], ["10.0.0.0/8"]]))
        answer = await chat(edge)
        assert answer.status == 403
        assert answer.error()["message"] == "Access forbidden: IP address 127.0.0.1 not allowed."
        grants(edge, Rules(allowed_ips=[["127.0.0.0/8"], ["::ffff:127.0.0.1"]]))
        edge.grants.forget_all()
        assert (await chat(edge)).status == 200


async def test_behind_a_trusted_proxy_the_clients_own_words_change_nothing() -> None:
    async with Edge({"m": ["mock:x"]}) as edge:
        grants(edge, Rules(allowed_ips=[["192.0.2.7"]]))
        edge.parts.proxies = (network("127.0.0.0/8"), network("10.0.0.0/8"))
        for lines, status in (
            (b"X-Forwarded-For: 192.0.2.7\r\n", 200),
            (b"X-Forwarded-For: 192.0.2.7, 10.1.1.1\r\n", 200),
            (b"X-Forwarded-For: 192.0.2.7, 203.0.113.9\r\n", 403),
            (b"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-For: 203.0.113.9\r\n", 403),
            (b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 192.0.2.7\r\n", 200),
            (b"X-Forwarded-For: garbage\r\n", 403),
            (b"", 403),
        ):
            assert (await chat(edge, lines)).status == status, lines
        edge.parts.proxies = ()
        assert (await chat(edge, b"X-Forwarded-For: 192.0.2.7\r\n")).status == 403, "nobody's header is believed"


@pytest.mark.parametrize(("keep", "kept"), [("full", "203.0.113.77"), ("short", "203.0.113.0"), ("none", None)])
async def test_the_book_has_as_much_of_an_address_as_it_may_and_rules_see_all_of_it(
    keep: str, kept: str | None
) -> None:
    async with Edge({"m": ["mock:x"]}, edge_requester_ip=keep) as edge:
        grants(edge, Rules(allowed_ips=[["203.0.113.77"]]))
        edge.parts.proxies = (network("127.0.0.0/8"),)
        assert (await chat(edge, b"X-Forwarded-For: 203.0.113.77\r\n")).status == 200
        opened, _ = await told(edge)
        assert (await chat(edge, b"X-Forwarded-For: 203.0.113.78\r\n")).status == 403
        refused = edge.facts()[-1]
        assert isinstance(refused, Refused) and opened.requester_ip == kept
        assert refused.requester_ip == (kept and kept.replace(".77", ".78"))


async def test_the_page_s_demand_for_a_parameter() -> None:
    async with Edge({"m": ["mock:x"]}) as edge:
        grants(edge, Rules(enforced_params=["user", "metadata.generation_name"]))
        answer = await chat(edge)
        assert answer.body == (
            b'{"error":{"message":"Authentication Error, BadRequest please pass param=user in request body. '
            b'This is a required param","type":"auth_error","param":"None","code":401}}'
        )
        answer = await chat(edge, user="gm", metadata={})
        assert answer.error_message().startswith(
            "Authentication Error, BadRequest please pass param=[metadata][generation_name] in request body."
        )
        assert (await chat(edge, user="gm", metadata={"generation_name": "prod-app"})).status == 200


async def test_a_blocked_customer_is_refused_and_what_policy_said_is_kept_until_a_fact_comes() -> None:
    async with Edge({"m": ["mock:x"]}) as edge:
        no = Denial(errors.blocked_customer("c"), 1, ["control.customer.c"], rule="customer")
        asked = grants(edge, Rules(), no)
        for _ in range(3):
            answer = await chat(edge, user="c")
            assert answer.status == 400
            assert answer.error()["message"] == "User blocked from making LLM API Calls. User=c"
        assert len([q for q in asked if q.customer_id == "c"]) == 1
        assert (await chat(edge)).status == 200, "who names nobody isn't asked about"
        assert (await chat(edge, b"x-litellm-customer-id: c\r\n")).status == 400
        asked = grants(edge, Rules(), Grant(edge.grant(asked[0]).caller, "", "", 2, ["control.customer.c"]))
        edge.customers.forget("control.customer.c", 2)
        assert (await chat(edge, user="c")).status == 200


async def test_many_customers_push_out_no_caller() -> None:
    async with Edge({"m": ["mock:x"]}) as edge:
        asked = grants(edge, Rules())
        assert (await chat(edge)).status == 200
        for number in range(130):  # the harness keeps 100
            assert (await chat(edge, user=f"c{number}")).status == 200
        assert len([q for q in asked if q.customer_id is None]) <= 2
        assert not edge.grants.seen(None)


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6,1.2.3.4:8080", "1.2.3.4"),
        ("10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "6.6.6.6, unknown, 10.0.0.2", "10.0.0.2"),
        ("9.9.9.9", "1.2.3.4", "9.9.9.9"),
        (None, "1.2.3.4", None),
    ],
)
def test_the_address_behind_proxies(peer: str | None, header: str | None, client: str | None) -> None:
    assert behind_proxies(peer, header, (network("10.0.0.0/8"),)) == client


@pytest.mark.parametrize(
    ("general", "says"),
    [
        ({"use_x_forwarded_for": True}, "your load balancer or ingress"),
        ({"use_x_forwarded_for": True, "trusted_proxy_ranges": []}, "use_x_forwarded_for needs"),
        ({"trusted_proxy_ranges": "10.0.0.0/8"}, "must be a list"),
        ({"use_x_forwarded_for": True, "trusted_proxy_ranges": ["10.0.0.0/99"]}, "trusted_proxy_ranges: "),
    ],
)
def test_who_believes_headers_must_say_whose_at_the_start(general: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        configured.proxies(general)
    trusted = {"use_x_forwarded_for": True, "trusted_proxy_ranges": ["10.0.0.0/8"]}
    assert configured.proxies(trusted) == (network("10.0.0.0/8"),)
    assert configured.proxies({**trusted, "use_x_forwarded_for": False}) == ()


@given(
    st.lists(st.sampled_from(["1.1.1.1", "10.9.9.9", "x", "", "::1", "10.0.0.0/8"]), max_size=50), st.text(max_size=20)
)
def test_what_a_client_writes_left_of_the_proxys_entry_changes_nothing(spoofed: list[str], junk: str) -> None:
    header = ",".join([*spoofed, junk, "203.0.113.5", "10.0.0.2"])
    assert behind_proxies("10.0.0.1", header, (network("10.0.0.0/8"),)) == "203.0.113.5"


@pytest.mark.parametrize(
    ("rule", "inside", "outside"),
    [
        ("10.0.0.7", "10.0.0.7", "10.0.0.8"),
        ("10.0.0.7/8", "10.200.0.1", "11.0.0.1"),
        ("2001:db8::/32", "2001:db8:1::2", "2001:db9::"),
        ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
        ("fe80::/10", "fe80::1%eth0", "10.0.0.1"),
    ],
)
def test_addresses_and_ranges(rule: str, inside: str, outside: str) -> None:
    assert addresses.allowed([rule], inside)
    assert not addresses.allowed([rule], outside)
    assert not addresses.allowed([rule], None)
    assert not addresses.allowed([], inside)


def test_a_shortened_address_names_a_network() -> None:
    assert addresses.shortened("203.0.113.77") == "203.0.113.0"
    assert addresses.shortened("2001:db8:1:2::3") == "2001:db8:1::"
    assert addresses.shortened("nobody") is None
