"""How large requests and answers may be: the page's answer to the byte, counted on real bytes, and
told to people.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from services.edge import sizes
from services.edge.alerts import EVERY_S, TRY_AFTER_S, Alerts, webhook
from services.edge.sizes import Sizes
from shared import subjects
from shared.config import ConfigError
from shared.facts import Refused
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.requests import DecideReply
from shared.secrets.value import Secret
from tests.edge.fakes import (
    DONE,
    LAST_CHUNK,
    STREAM_HEAD,
    USAGE_EVENT,
    always,
    chunk,
    completion,
    delta,
    response,
    until,
)
from tests.edge.fakes import Provider as FakeProvider
from tests.edge.harness import Edge
from tests.support.serving import handled_by, serving

PAGE_BODY = (
    b'{\n    "model": "fake-openai-endpoint",\n    "messages": [\n'
    b'      {"role": "user", "content": "Hello, Claude!"}\n    ]\n  }'
)
PAGE_ANSWER = (
    b'{"error":{"message":"Request size is too large. Request size is 0.0001125335693359375 MB. Max size is 1e-09 MB",'
    b'"type":"bad_request_error","param":"content-length","code":400}}'
)


class Slack:
    """A local server that takes what Slack's incoming webhooks take."""

    url: Secret
    outbound: Outbound

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.answers: list[int] = []

    async def take(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        if self.answers:
            return web.Response(status=self.answers.pop(0))
        message = await request.json()
        assert set(message) <= {"text", "blocks"} and isinstance(message["text"], str) and message["text"]
        self.messages.append(message)
        return web.Response(text="ok")


@pytest_asyncio.fixture
async def slack() -> AsyncIterator[Slack]:
    made = Slack()
    made.outbound = Outbound(OutboundSettings(), Guard(any_address=True))
    async with serving(handled_by(made.take, "POST", "/services/T/B/x")) as address:
        made.url = Secret(address + "/services/T/B/x")
        yield made
        await made.outbound.close()


def limited(edge: Edge, **limits: float) -> None:
    """The caller's own, by its key or team."""
    edge.bus.answers[subjects.POLICY_DECIDE] = lambda asked: DecideReply(edge.grant(asked, **limits))


async def test_the_pages_example(slack: Slack) -> None:
    clock = [0.0]
    async with Edge({"fake-openai-endpoint": ["mock:x"]}) as edge:
        edge.parts.sizes = sizes.read({"max_request_size_mb": 0.000000001, "max_response_size_mb": 100})
        edge.parts.alerts = Alerts(slack.outbound, slack.url, lambda: clock[0])
        assert len(PAGE_BODY) == 118
        for _ in range(3):
            async with await edge.connect() as caller:
                await caller.post("/v1/chat/completions", PAGE_BODY)
                answer = await caller.answer()
                assert (answer.status, answer.body) == (400, PAGE_ANSWER)
                assert answer.headers["connection"] == "close"
        await until(lambda: slack.messages)
        (message,) = slack.messages
        for said in ("Max size is 1e-09 MB", "Request size is 0.000112", "/chat/completions", "test"):
            assert said in message["text"]
        clock[0] = EVERY_S
        async with await edge.connect() as caller:
            await caller.post("/v1/chat/completions", PAGE_BODY)
            assert (await caller.answer()).status == 400
        await until(lambda: len(slack.messages) == 2)
        assert "2 more" in slack.messages[1]["text"]
        assert edge.facts() == [] or all(isinstance(fact, Refused) for fact in edge.facts())
        await edge.parts.alerts.close()


@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("how", ["declared", "chunked", "gzip"])
async def test_the_limit_is_on_real_bytes(extra: int, how: str) -> None:
    import gzip

    limit = 4_096
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": ""}]}).encode()
    body = body.replace(b'""', b'"' + b"x" * (limit - len(body) + extra) + b'"')
    assert len(body) == limit + extra
    async with Edge({"m": ["mock:x"]}) as edge:
        edge.parts.sizes = Sizes(request_mb=limit / sizes.MB)
        async with await edge.connect() as caller:
            if how == "declared":
                await caller.post("/chat/completions", body)
            elif how == "gzip":
                await caller.post("/chat/completions", gzip.compress(body), {"Content-Encoding": "gzip"})
            else:
                head = b"POST /chat/completions HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer sk-client-key\r\n"
                await caller.send(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(body) + LAST_CHUNK)
            answer = await caller.answer()
    assert answer.status == (400 if extra else 200)
    if extra:
        assert answer.json()["error"]["message"].startswith(
            f"Request size is too large. Request size is {(limit + 1) / sizes.MB}"
        )


async def test_a_keys_own_limit_counts_too() -> None:
    async with Edge({"m": ["mock:x"]}) as edge:
        limited(edge, max_request_size_mb=0.0001)
        answer = await edge.chat(text="x" * 200)
        assert (answer.status, answer.json()["error"]["code"]) == (400, 400)
        limited(edge, max_request_size_mb=1)
        edge.grants.forget_all()
        assert (await edge.chat()).status == 200


@pytest.mark.parametrize("whose", ["settings", "key"])
async def test_an_answer_that_is_too_large_is_not_passed_on_and_is_paid(whose: str, slack: Slack) -> None:
    body = completion("y" * 5_000)
    async with FakeProvider(always(response(body))) as provider, Edge({"m": [provider.url]}) as edge:
        edge.parts.alerts = Alerts(slack.outbound, slack.url, lambda: 0.0)
        if whose == "key":
            limited(edge, max_response_size_mb=0.004)
        else:
            edge.parts.sizes = Sizes(response_mb=0.004)
        answer = await edge.chat()
        assert answer.status == 400
        assert answer.json()["error"] == {
            "message": f"Response size is too large. Response size is {len(body) / sizes.MB} MB. Max size is 0.004 MB",
            "type": "bad_request_error", "param": "content-length", "code": 400,
        }  # fmt: skip
        settled = await edge.the_settled()
        assert (settled.outcome, settled.error_code, settled.usage.output_tokens) == (
            "blocked",
            "response_too_large",
            5,
        )
        assert settled.cost_picousd
        await until(lambda: slack.messages)
        await edge.parts.alerts.close()


async def test_a_stream_that_is_too_large_is_cut_with_an_error_event_and_settled() -> None:
    events = [delta("z" * 300) for _ in range(30)]
    script = always(STREAM_HEAD, *map(chunk, [*events, USAGE_EVENT, DONE]), LAST_CHUNK)
    async with FakeProvider(script) as provider, Edge({"m": [provider.url]}) as edge:
        edge.parts.sizes = Sizes(response_mb=0.004)
        answer = await edge.chat(stream=True)
        assert answer.status == 200
        assert b"Response size is too large" in answer.body and b"[DONE]" not in answer.body
        assert answer.body.count(b"zzz" * 100) <= 0.004 * sizes.MB / 300
        settled = await edge.the_settled()
        assert (settled.outcome, settled.status, settled.error_code) == ("blocked", 400, "response_too_large")


@pytest.mark.parametrize(
    ("name", "size", "why"),
    [
        ("a.pdf", 10, None),
        ("A.PDF", 10, None),
        ("a.txt", 10, "file_extension"),
        ("a.exe", 10, "file_extension"),
        ("a", 10, "file_extension"),
        ("a.pdf.exe", 10, "file_extension"),
        ("a.pdf", sizes.MB + 1, "file_too_large"),
        ("a.pdf", sizes.MB, None),
    ],
)
def test_files(name: str, size: int, why: str | None) -> None:
    found = sizes.read(
        {"max_file_size_mb": 1, "allowed_file_extensions": [".pdf", "exe"], "blocked_file_extensions": ["EXE"]}
    ).file_refusal(name, size)
    assert (None if found is None else found.code) == why


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_request_size_mb": "32"}, {"max_request_size_mb": 0}, {"max_response_size_mb": True}, {"max_file_size_mb": -1},
        {"allowed_file_extensions": ".pdf"}, {"blocked_file_extensions": [1]}, {"max_request_size_mb": float("nan")},
    ],
)  # fmt: skip
def test_what_is_no_limit_is_refused_at_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        sizes.read(wrong)


async def test_a_slack_that_is_away_is_told_later(slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.edge.alerts.TRY_AFTER_S", (0.0, 0.01, 0.01))
    slack.answers = [503, 429]
    alerts = Alerts(slack.outbound, slack.url, lambda: 0.0)
    alerts.tell("request_too_large", "a", "one <b> & two")
    await until(lambda: slack.messages)
    assert "one &lt;b&gt; &amp; two" in slack.messages[0]["text"]
    slack.answers = [404]
    alerts.tell("request_too_large", "b", "refused for good")
    await until(lambda: alerts.lost == 1)
    await alerts.close()


async def test_slack_away_for_minutes_loses_nothing_and_repeats_nothing(
    slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sum(TRY_AFTER_S) > 3_600, "as long as it is told again"
    monkeypatch.setattr("services.edge.alerts.TRY_AFTER_S", (0.0, *(0.001,) * 30))
    slack.answers = [503] * 20
    alerts = Alerts(slack.outbound, slack.url, lambda: 0.0)
    for who in "abcde":
        alerts.tell("request_too_large", who, f"of {who}")
    await until(lambda: len(slack.messages) == 5)
    assert [message["text"].rpartition(" ")[2] for message in slack.messages] == list("abcde")
    assert (alerts.sent, alerts.lost) == (5, 0)
    # One is being sent and as many as may wait do; for one more the oldest of those makes room, and
    # no other goes with it.
    monkeypatch.setattr("services.edge.alerts.WAITING_MAX", 2)
    slack.answers = [503] * 20
    alerts.tell("k", "being sent", "n 0")
    await until(lambda: not alerts._waiting)
    for number in (1, 2, 3):
        alerts.tell("k", str(number), f"n {number}")
    await until(lambda: len(slack.messages) == 8)
    assert [message["text"].rpartition(" ")[2] for message in slack.messages[5:]] == [
        "0",
        "2",
        "3",
    ] and alerts.lost == 1
    await alerts.close()


async def test_callers_are_bounded_and_nobody_is_told_without_slack() -> None:
    alerts = Alerts(Outbound(OutboundSettings(), Guard(any_address=True)), Secret("http://127.0.0.1:9/"), lambda: 0.0)
    for number in range(12_000):
        alerts.tell("kind", str(number), "x")
    assert len(alerts._told) <= 10_001 and len(alerts._waiting) <= 256
    await alerts.close()
    silent = Alerts(None, None, float)
    silent.tell("kind", "who", "text")
    assert silent._task is None
    assert webhook({}, {}) is None and webhook({"alerting": ["email"]}, {}) is None
    with pytest.raises(ConfigError, match="SLACK_WEBHOOK_URL"):
        webhook({"alerting": ["slack"]}, {})
    await asyncio.sleep(0)
