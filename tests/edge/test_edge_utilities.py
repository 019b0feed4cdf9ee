"""Routes, health checks that really call, token counts: for whom they are, and what they leave in
the book.
"""

import asyncio
import json
from typing import Any

import msgspec

from services.edge import checking
from services.edge.checks import Checks
from shared import errors, subjects
from shared.facts import Caller
from shared.grant import Denial
from shared.ids import KeyDigest
from shared.requests import AdminReply, DecideReply, DecideRequest, ServicesReply, ServiceState
from tests.edge.fakes import Answer, Peer, completion, response, until
from tests.edge.fakes import Provider as FakeProvider
from tests.edge.harness import Edge

NO = response(b'{"error": {"message": "the provider says no to sk-of-the-provider"}}', "503 Service Unavailable")


async def ask(
    edge: Edge, path: str, method: str = "GET", body: Any = None, key: str | None = "sk-client-key"
) -> Answer:
    data = b"" if body is None else json.dumps(body).encode()
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: e",
        f"Content-Length: {len(data)}",
        *([f"Authorization: Bearer {key}"] if key else []),
        "",
        "",
    ]
    async with await edge.connect() as caller:
        await caller.send("\r\n".join(lines).encode() + data)
        return await caller.answer()


def role(edge: Edge, role: str) -> None:
    def decide(asked: DecideRequest) -> DecideReply:
        grant = edge.grant(asked)
        assert not isinstance(grant, Denial)
        return DecideReply(msgspec.structs.replace(grant, caller=Caller(KeyDigest("a" * 64), role=role)))

    edge.bus.answers[subjects.POLICY_DECIDE] = decide
    edge.grants.forget_all()


async def test_health_calls_each_deployment_once_and_books_it() -> None:
    asked: list[bytes] = []

    async def good(peer: Peer) -> None:
        while True:
            await peer.request()
            asked.append(one.bodies[-1])
            await asyncio.sleep(0.05)
            await peer.send(response(completion("pong")))

    async def bad(peer: Peer) -> None:
        while True:
            await peer.request()
            asked.append(b"bad")
            await peer.send(NO)

    async with (
        FakeProvider(good) as one,
        FakeProvider(bad) as other,
        Edge({"m": [one.url, other.url], "n": ["mock:hi"]}) as edge,
    ):
        role(edge, "proxy_admin")
        first, same = await asyncio.gather(ask(edge, "/health"), ask(edge, "/health"))
        found = first.json()
        assert (found["healthy_count"], found["unhealthy_count"]) == (2, 1) and same.json() == found, first.body
        assert [each["model_id"] for each in found["healthy_endpoints"]] == ["m-0", "n-0"]
        (broken,) = found["unhealthy_endpoints"]
        assert broken["model_id"] == "m-1" and broken["exception_status"] == 503 and broken["api_base"] == other.url
        assert len(asked) == 2, "once each, whoever asks"
        assert json.loads(asked[0])["max_tokens"] == 5
        assert (await ask(edge, "/health")).json() == found and len(asked) == 2, "not again within the interval"
        await until(lambda: len(edge.settled()) == 3)
        assert all("litellm-internal-health-check" in fact.opened.tags for fact in edge.settled())
        assert {fact.opened.deployment_id: fact.outcome for fact in edge.settled()} == {
            "m-0": "success",
            "m-1": "provider_error",
            "n-0": "success",
        }
        role(edge, "internal_user")
        shown = (await ask(edge, "/health?model=m")).json()
        assert shown["unhealthy_endpoints"] == [{"model_name": "m", "model_id": "m-1", "error_code": "provider_503"}]
        assert "n-0" not in str(shown) and other.url not in str(shown)
        assert (await ask(edge, "/health?model_id=n-0")).json()["healthy_count"] == 1
        edge.parts.checks = Checks(0.0)
        await ask(edge, "/health?model_id=m-0")
        assert len(asked) == 3


async def test_the_hub_says_which_models_answer_as_they_were_last_seen() -> None:
    async def good(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(response(completion("pong")))

    async def bad(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(NO)

    rows = [{"model_group": name, "health_status": None, "health_response_time": None, "health_checked_at": None}
            for name in ("m", "n", "unseen")]  # fmt: skip
    async with (
        FakeProvider(good) as one,
        FakeProvider(bad) as other,
        Edge({"m": [other.url, one.url], "n": [other.url]}) as edge,
    ):
        edge.bus.answers[subjects.POLICY_ADMIN] = lambda _: AdminReply(200, msgspec.json.encode(rows), 0)
        assert (await ask(edge, "/public/model_hub", key=None)).json() == rows, "nothing was looked at yet"
        await ask(edge, "/health")
        first, second, unseen = (await ask(edge, "/public/model_hub", key=None)).json()
        assert (first["health_status"], second["health_status"]) == ("healthy", "unhealthy")
        assert first["health_response_time"] > 0 and first["health_checked_at"].endswith("+00:00")
        assert unseen == rows[2]


async def test_in_the_background_each_is_called_again_and_again_and_nobody_who_asks_calls() -> None:
    asked: list[bytes] = []

    async def answering(peer: Peer) -> None:
        while True:
            await peer.request()
            asked.append(one.bodies[-1])
            await peer.send(response(completion("pong")))

    async with FakeProvider(answering) as one, Edge({"m": [one.url], "n": [one.url], "p/*": [one.url]}) as edge:
        for model, info in {
            "m": {"health_check_max_tokens": 7, "health_check_model": "openai/small"},
            "n": {"disable_background_health_check": True},
            "p/*": {"health_check_model": "p/tiny"},
        }.items():
            id = next(each.id for each in edge.deployments if each.model_name == model)
            target = edge.parts.targets[id]
            deployment = msgspec.structs.replace(target.deployment, info=info)
            edge.parts.targets[id] = msgspec.structs.replace(target, deployment=deployment)

        def decide(question: DecideRequest) -> DecideReply:
            grant = edge.grant(
                msgspec.structs.replace(question, model="p/*" if question.model == "p/tiny" else question.model)
            )
            assert not isinstance(grant, Denial)
            listed = ["m", "n"]
            candidates = [msgspec.structs.replace(each, upstream_model="tiny") if question.model == "p/tiny" else each
                          for each in grant.candidates]  # fmt: skip
            return DecideReply(msgspec.structs.replace(grant, models=listed, candidates=candidates))

        edge.bus.answers[subjects.POLICY_DECIDE] = decide
        edge.parts.checks = Checks(0.0, in_background=True)
        running = asyncio.create_task(checking.in_background(edge.parts, 0.02))
        await until(lambda: len(asked) >= 6)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        bodies = [json.loads(body) for body in asked]
        assert {(each["model"], each["max_tokens"]) for each in bodies} == {("small", 7), ("tiny", 5)}, (
            "n is left alone"
        )
        await until(lambda: len(edge.settled()) >= len(asked))
        before = len(asked)
        role(edge, "proxy_admin")
        edge.bus.answers[subjects.POLICY_DECIDE] = decide
        found = (await ask(edge, "/health?model=m")).json()
        assert found["healthy_count"] == 1 and len(asked) == before
        for calls in (1, 2):
            assert (await ask(edge, "/health?model=n")).json()["healthy_count"] == 1
            assert len(asked) == before + calls, "nobody else looks at this one: its last result doesn't stand forever"
        assert all("litellm-internal-health-check" in fact.opened.tags for fact in edge.settled())


async def test_background_checks_outlive_what_goes_wrong() -> None:
    async with Edge({"m": ["mock:a"]}) as edge:
        edge.bus.answers[subjects.POLICY_DECIDE] = None
        running = asyncio.create_task(checking.in_background(edge.parts, 0.01))
        await until(lambda: len(edge.bus.asked) >= 3)
        edge.bus.answers[subjects.POLICY_DECIDE] = edge.decide
        await until(lambda: edge.settled())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_model_that_the_caller_may_not_use_is_not_called() -> None:
    async with Edge({"m": ["mock:a"], "n": ["mock:b"]}) as edge:

        def decide(asked: DecideRequest) -> DecideReply:
            if asked.model == "n":
                return DecideReply(Denial(errors.model_not_allowed("n", "key"), 1, [], rule="key_models"))
            return DecideReply(edge.grant(asked))

        edge.bus.answers[subjects.POLICY_DECIDE] = decide
        found = (await ask(edge, "/health")).json()
        assert [each["model_id"] for each in found["healthy_endpoints"]] == ["m-0"] and not found["unhealthy_endpoints"]
        assert (await ask(edge, "/utils/token_counter", "POST", {"model": "n", "prompt": "x"})).status in (401, 403)


async def test_models_that_cost_too_much_to_ask_are_not_asked() -> None:
    async with Edge({"m": ["mock:a"]}) as edge:
        target = edge.parts.targets[edge.deployments[0].id]
        deployment = msgspec.structs.replace(target.deployment, info={"mode": "image_generation"})
        edge.parts.targets[deployment.id] = msgspec.structs.replace(target, deployment=deployment)
        (found,) = (await ask(edge, "/health")).json()["unhealthy_endpoints"]
        assert found["error_code"] == "not_checked" and not edge.settled()


async def test_routes_and_test_are_for_everybody() -> None:
    async with Edge({"m": ["mock:a"]}) as edge:
        found = (await ask(edge, "/routes", key=None)).json()["routes"]
        assert {
            "path": "/v1/chat/completions",
            "methods": ["POST"],
            "name": "/chat/completions",
            "endpoint": "llm",
        } in found
        assert (await ask(edge, "/test", key=None)).json() == {"route": "/test"}


async def test_tokens_and_parameters() -> None:
    async with Edge({"m": ["mock:a"]}) as edge:
        messages = [
            {"role": "user", "content": [{"type": "text", "text": "one two three"}]},
            {"role": "system", "content": "four"},
        ]
        found = await ask(edge, "/utils/token_counter", "POST", {"model": "m", "messages": messages})
        assert found.json() == {
            "total_tokens": 4,
            "request_model": "m",
            "model_used": "m-upstream",
            "tokenizer_type": "openai_tokenizer",
            "count_source": "local_estimate",
            "original_response": None,
            "error": False,
            "error_message": None,
            "status_code": None,
        }
        beside = {"model": "m", "contents": [{"parts": [{"text": "one two"}]}], "system": "three", "tools": None}
        assert (await ask(edge, "/utils/token_counter", "POST", beside)).json()["total_tokens"] == 3
        assert (await ask(edge, "/utils/token_counter", "POST", {"model": "m", "prompt": "a b"})).json()[
            "total_tokens"
        ] == 2
        for wrong in (None, [], {}, {"model": "m"}, {"model": 5, "prompt": "x"}):
            assert (await ask(edge, "/utils/token_counter", "POST", wrong)).status == 400
        params = (await ask(edge, "/utils/supported_openai_params?model=m")).json()["supported_openai_params"]
        assert "temperature" in params and "tools" in params
        assert (await ask(edge, "/utils/supported_openai_params")).status == 400


async def test_services() -> None:
    async with Edge({"m": ["mock:a"]}) as edge:
        assert (await ask(edge, "/health/services?service=prometheus")).status == 200
        for service in ("slack", "pager", ""):
            answer = await ask(edge, f"/health/services?service={service}")
            assert answer.status == 400 and answer.json()["error"]["param"] == "service"
        assert (await ask(edge, "/health/services?service=cache")).status == 503


async def test_services_that_guardrails_ask() -> None:
    """Real ones with real circuits: tests/moderation/test_remote_guardrails.py."""
    fine = ServiceState("pii", "a Presidio analyzer", "closed", 0, "", 3.04)
    broken = ServiceState("lg", "an LLM Guard API server", "open", 7, "status 503", 0.5)
    async with Edge({"m": ["mock:a"]}) as edge:
        assert (await ask(edge, "/health/services?service=guardrails")).status == 503  # moderation is away
        edge.bus.answers[subjects.MODERATION_SERVICES] = lambda _: ServicesReply([fine, broken])
        answer = await ask(edge, "/health/services?service=guardrails")
        assert answer.status == 503 and answer.json()["message"] == "no answer for lg"
        assert answer.json()["services"][1] == {
            "guardrail": "lg", "needs": "an LLM Guard API server", "circuit": "open", "failures": 7, "error": "status 503",
            "asked_seconds_ago": 0.5,
        }  # fmt: skip
        edge.bus.answers[subjects.MODERATION_SERVICES] = lambda _: ServicesReply([fine])
        answer = await ask(edge, "/health/services?service=guardrails")
        assert answer.status == 200 and answer.json()["services"][0]["asked_seconds_ago"] == 3.0


async def test_a_call_id_in_an_errors_body_where_it_is_wanted() -> None:
    async with Edge({"m": ["mock:a"]}) as edge:
        assert "litellm_call_id" not in (await ask(edge, "/v1/chat/completions", "POST", {})).json()["error"]
        edge.parts.call_id_in_errors = True
        answer = await ask(edge, "/v1/chat/completions", "POST", {})
        edge.bus.answers[subjects.POLICY_DECIDE] = lambda asked: DecideReply(Denial(errors.no_key(), 1, []))
        edge.grants.forget_all()
        refused = await ask(edge, "/v1/chat/completions", "POST", {}, key="sk-other")
        assert refused.json()["error"]["litellm_call_id"] == refused.headers["x-litellm-call-id"]
        assert answer.status == 400
