"""Settings of LiteLLM's file that the edge reads: each changes what it says."""

import asyncio
import json

import msgspec
import pytest

from services.edge import front, own_headers, setup
from services.edge.config import EdgeSettings
from services.edge.formats.base import NO_HINTS, Hints
from services.edge.providers import table
from services.edge.reading import Head
from services.edge.routing import settings
from services.edge.routing.health import Health
from services.edge.routing.plan import Rules
from services.edge.routing.rooms import Place, Rooms
from services.edge.routing.settings import RoutingSettings
from services.edge.sso import settings as sso_settings
from shared import config, errors, subjects
from shared.config import Config, ConfigError
from shared.facts import Refused
from shared.grant import Denial, Grant
from shared.ids import DeploymentId
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.requests import DecideReply, DecideRequest
from tests.config.stand_ins import CHUNKS
from tests.edge.fakes import Peer, Provider, always, response, until
from tests.edge.harness import Edge, told

D = DeploymentId("d")


def parsed(text: str) -> Config:
    return config.parse(text, {})


def test_allowed_fails_policy_counts_each_cause_apart() -> None:
    text = "router_settings: {allowed_fails: 0, allowed_fails_policy: {TimeoutErrorAllowedFails: 2, RateLimitErrorAllowedFails: 1}}"
    found = settings.of(parsed(text))
    health = Health(cooldown_s=5, allowed_fails=found.allowed_fails, by_cause=found.fails_by_cause)
    assert [health.failed(D, "timeout", 1.0) for _ in range(3)] == [None, None, 5.0]
    other = Health(cooldown_s=5, allowed_fails=found.allowed_fails, by_cause=found.fails_by_cause)
    assert other.failed(D, "limited", 1.0) is None, "LiteLLM's 429 rests at once, unless so many are allowed"
    assert other.failed(D, "limited", 1.1) == 5.0
    usual = Health(cooldown_s=5, allowed_fails=found.allowed_fails, by_cause=found.fails_by_cause)
    assert usual.failed(D, "failed", 1.0) == 5.0, "a cause of which the policy says nothing"
    again = Health(cooldown_s=5, by_cause=found.fails_by_cause)
    again.started(D, 0.0), again.failed(D, "timeout", 0.0), again.failed(D, "timeout", 1.0)
    again.started(D, 61.0)
    assert again.failed(D, "timeout", 61.0) is None, "another minute, another count"


def test_a_models_own_retry_policy() -> None:
    text = (
        "router_settings: {num_retries: 1, retry_policy: {TimeoutErrorRetries: 1}, "
        "model_group_retry_policy: {gpt: {RateLimitErrorRetries: 4}}}"
    )
    found = settings.of(parsed(text))
    assert found.rules.retries_of("timeout") == 1 and found.rules.retries_of("limited") == 1
    own = found.rules_by_model["gpt"]
    assert own.retries_of("limited") == 4 and own.retries_of("timeout") == 1 and own.retries == 1
    assert front.routing(parsed(text))["routing"] == found
    for wrong in ("{gpt: 3}", "{gpt: {Nonsense: 1}}", "{gpt: {RateLimitErrorRetries: -1}}"):
        named = parsed(f"router_settings: {{model_group_retry_policy: {wrong}}}")
        assert "model_group_retry_policy.gpt" in str(named.warnings)
        assert not settings.of(named).rules_by_model.get("gpt", Rules()).by_cause


ENTRY = "model_list: [{model_name: g, litellm_params: {model: vertex_ai/gemini-2.0-flash}}]\n"


def test_timeouts_and_googles_place_where_an_entry_says_nothing() -> None:
    text = (
        ENTRY
        + "litellm_settings: {timeout: 33, stream_timeout: 7, vertex_project: acme, vertex_location: europe-west1}"
    )
    (made,) = settings.with_defaults(parsed(text).deployments, parsed(text))
    assert (made.timeout_ms, made.stream_timeout_ms) == (33_000, 7_000)
    target = table.build([made], "t", None, {})[made.id]
    assert target.origin is not None and target.origin.host == "europe-west1-aiplatform.googleapis.com"
    assert "/projects/acme/locations/europe-west1" in target.base_path
    both = ENTRY + "litellm_settings: {timeout: 33, request_timeout: 44}"
    (made,) = settings.with_defaults(parsed(both).deployments, parsed(both))
    assert made.timeout_ms == 44_000


def test_default_litellm_params_stand_where_an_entry_says_nothing() -> None:
    text = (
        "model_list:\n- {model_name: a, litellm_params: {model: openai/a, api_key: k}}\n"
        "- {model_name: b, litellm_params: {model: openai/b, api_key: k, rpm: 9}}\n"
        "router_settings: {default_litellm_params: {rpm: 3, temperature: 0.1}}"
    )
    assert [(d.rpm, d.parameters) for d in parsed(text).deployments] == [
        (3, {"temperature": 0.1}),
        (9, {"temperature": 0.1}),
    ]


class Asked:
    def __init__(self, **headers: str) -> None:
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def header(self, name: str) -> str | None:
        return self._headers.get(name)


def test_headers_of_ones_own_are_tags_and_customers() -> None:
    found = own_headers.of(
        parsed(
            "litellm_settings: {extra_spend_tag_headers: [X-Team, x-cost]}\n"
            "general_settings: {user_header_name: X-User, user_header_mappings: [{header_name: X-Other, litellm_user_role: customer},"
            " {header_name: X-Staff, litellm_user_role: internal_user}]}"
        )
    )
    assert found is not None and found.customers == ("X-User", "X-Other")

    def read(hints: Hints = NO_HINTS, **headers: str) -> Head:
        head = Head(None, "none", None, None, hints=hints)
        found.read(Asked(**headers), head)
        return head

    of_team = read(Hints(tags="a"), x_team="blue,red", x_cost="9" * 300)
    assert of_team.hints.tags == "a" and of_team.own_tags == ("X-Team: blue,red", "x-cost: " + "9" * 248)
    assert read(x_other="o", x_staff="s").hints.customer_id == "o"
    assert read(Hints(customer_id="named"), x_user="u").hints.customer_id == "named"
    assert read().own_tags == () and own_headers.of(parsed("{}")) is None


@pytest.mark.asyncio
@pytest.mark.parametrize("shown", [True, False])
async def test_a_streams_usage_is_shown_to_everybody_where_the_file_says_so(shown: bool) -> None:
    events = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in CHUNKS) + b"data: [DONE]\n\n"
    general = parsed(f"general_settings: {{always_include_stream_usage: {str(shown).lower()}}}")
    async with Provider(always(response(events, kind="text/event-stream"))) as there, Edge({"m": [there.url]}) as edge:
        edge.parts.show_usage = general.general.always_include_stream_usage
        assert (b'"total_tokens"' in (await edge.chat("m", stream=True)).body) is shown


def answer(text: str) -> bytes:
    return response(
        b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"'
        + text.encode()
        + b'"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
    )


@pytest.mark.asyncio
@pytest.mark.parametrize("by", ["entry", "grant"])
async def test_tags_lead_a_call_to_its_deployment(by: str) -> None:
    async with (
        Provider(always(answer("zero"))) as zero,
        Provider(always(answer("one"))) as one,
        Edge({"m": [zero.url, one.url]}) as edge,
    ):
        edge.parts.routing = RoutingSettings(filter_tags=True)
        tagged = (["free"], ["paid"])

        def decide(asked: DecideRequest) -> DecideReply:
            grant = edge.grant(asked)
            assert isinstance(grant, Grant)
            pairs = zip(grant.candidates, tagged, strict=False)  # none before the model is known
            found = [msgspec.structs.replace(each, tags=tags) for each, tags in pairs]
            return DecideReply(msgspec.structs.replace(grant, candidates=found))

        if by == "grant":
            edge.bus.answers[subjects.POLICY_DECIDE] = decide
        for number, tags in enumerate(tagged if by == "entry" else ()):
            target = edge.parts.targets[DeploymentId(f"m-{number}")]
            params = msgspec.structs.replace(target.deployment.params, tags=tags)
            deployment = msgspec.structs.replace(target.deployment, params=params)
            edge.parts.targets[DeploymentId(f"m-{number}")] = msgspec.structs.replace(target, deployment=deployment)
        for _ in range(3):
            assert b"one" in (await edge.chat("m", metadata={"tags": ["paid"]})).body
            assert b"zero" in (await edge.chat("m", metadata={"tags": ["free"]})).body
            refused = await edge.chat("m", metadata={"tags": ["neither"]})
            assert refused.status == 401 and b"due to tags configuration" in refused.body


@pytest.mark.asyncio
async def test_a_completion_that_names_no_model_asks_the_default_one() -> None:
    outbound = Outbound(OutboundSettings.read({}), Guard(any_address=True))
    found = front.build(parsed("router_settings: {default_model: m}"), {}, outbound)["default_models"]
    assert "/embeddings" not in found
    nameless = json.dumps({"messages": [{"role": "user", "content": "Hi"}]}).encode()
    async with Provider(always(answer("hi"))) as there, Edge({"m": [there.url]}) as edge:
        for models, status in (({}, 400), (found, 200)):
            edge.parts.default_models = models
            async with await edge.connect() as client:
                await client.post("/v1/chat/completions", nameless)
                assert (await client.answer()).status == status
        assert json.loads(there.bodies[-1])["model"] == "m-upstream"
        assert (await edge.chat("unknown")).status != 200, "what is named is asked"


@pytest.mark.asyncio
async def test_a_deployment_has_no_more_calls_at_once_than_it_may() -> None:
    """One place of its own, two deployments: two calls at once are answered by both, the third
    waits for the first place.
    """
    running, most, calls = 0, 0, 0

    async def slowly(peer: Peer) -> None:
        nonlocal running, most, calls
        while True:
            await peer.request()
            running, calls = running + 1, calls + 1
            most = max(most, running)
            await asyncio.sleep(0.02)
            running -= 1
            await peer.send(answer("hi"))

    async with Provider(slowly) as there, Edge({"m": [there.url]}, params={"max_parallel_requests": 2}) as edge:
        answers = await asyncio.gather(*(edge.chat("m") for _ in range(9)))
        assert {each.status for each in answers} == {200} and (calls, most) == (9, 2)
    running = most = calls = 0
    async with (
        Provider(slowly) as one,
        Provider(slowly) as other,
        Edge({"m": [one.url, other.url]}, params={"max_parallel_requests": 1}) as edge,
    ):
        answers = await asyncio.gather(*(edge.chat("m") for _ in range(8)))
        assert {each.status for each in answers} == {200} and (calls, most) == (8, 2)
        assert not edge.parts.rooms._rooms and len(one.bodies) >= 3 and len(other.bodies) >= 3
        edge.parts.rooms = Full()
        refused = await edge.chat("m")
        assert refused.status == 429 and refused.error()["type"] == "rate_limit_error"
        await until(lambda: len(edge.settled()) == 9)
        assert edge.settled()[-1].error_code == "deployment_full"


class Full(Rooms):
    def take(self, deployment: DeploymentId, limit: int) -> Place | None:
        return None


def test_where_the_file_says_how_many_calls_at_once() -> None:
    def limit(text: str, entry: str = "") -> int | None:
        one = parsed(f"model_list: [{{model_name: g, litellm_params: {{model: openai/g, api_key: k{entry}}}}}]\n{text}")
        (made,) = settings.with_defaults(one.deployments, one)
        return table.build([made], "t", None, {})[made.id].parallel_max

    assert limit("") is None and limit("", ", max_parallel_requests: 3") == 3
    assert limit("router_settings: {default_max_parallel_requests: 4}") == 4
    assert limit("litellm_settings: {max_parallel_requests: 5}") == 5, "in the wrong section"
    assert limit("general_settings: {max_parallel_requests: 5}", ", max_parallel_requests: 3") == 3
    assert limit("general_settings: {max_parallel_requests: 0}") is None, "no limit, as in LiteLLM"
    assert limit("general_settings: {max_parallel_requests: 5}", ", max_parallel_requests: 0") is None


@pytest.mark.asyncio
@pytest.mark.parametrize("off", [True, False])
async def test_the_book_names_no_customer_where_the_file_says_so(off: bool) -> None:
    built = front.build(
        parsed(f"general_settings: {{disable_end_user_cost_tracking: {str(off).lower()}}}"),
        {},
        Outbound(OutboundSettings.read({}), Guard()),
    )
    async with Provider(always(answer("hi"))) as there, Edge({"m": [there.url]}) as edge:
        edge.parts.records_customers = built["records_customers"]
        assert (await edge.chat("m", user="ann")).status == 200
        opened, settled = await told(edge)
        no = Denial(errors.model_not_allowed("n", "key"), 1, [], rule="key_models")
        edge.bus.answers[subjects.POLICY_DECIDE] = lambda _: DecideReply(no)
        assert (await edge.chat("n", user="ann")).status == no.refusal.status
        await until(lambda: len(edge.facts()) == 3)
        refused = edge.facts()[-1]
    assert isinstance(refused, Refused)
    assert {opened.customer_id, settled.opened.customer_id, refused.customer_id} == ({None} if off else {"ann"})


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "said", ["", "{disable_add_user_agent_to_request_tags: true}", "{disable_add_user_agent_to_request_tags: false}"]
)
async def test_the_client_is_a_tag_in_the_book_where_the_file_says_so(said: str) -> None:
    """In the book alone: no rule about what callers may tag sees it."""
    built = front.build(parsed(f"litellm_settings: {said}"), {}, Outbound(OutboundSettings.read({}), Guard()))
    async with Provider(always(answer("hi"))) as there, Edge({"m": [there.url]}) as edge:
        edge.parts.tags_clients = built["tags_clients"]

        async def chat(model: str) -> int:
            body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "metadata": {"tags": ["app"]}}
            async with await edge.connect() as caller:
                await caller.post(
                    "/v1/chat/completions", json.dumps(body).encode(), {"User-Agent": "claude-cli/2.1 (x, y)"}
                )
                return (await caller.answer()).status

        assert await chat("m") == 200
        opened, settled = await told(edge)
        no = Denial(errors.model_not_allowed("n", "key"), 1, [], rule="key_models")
        edge.bus.answers[subjects.POLICY_DECIDE] = lambda _: DecideReply(no)
        assert await chat("n") == no.refusal.status
        await until(lambda: len(edge.facts()) == 3)
        refused = edge.facts()[-1]
    clients = ["User-Agent: claude-cli", "User-Agent: claude-cli/2.1 (x, y)"] if "false" in said else []
    assert [*opened.tags] == [*settled.opened.tags] == ["app", *clients]
    assert isinstance(refused, Refused) and refused.tags == ["app", *clients]


def test_parameters_that_nobody_gets_are_said_once_for_all() -> None:
    text = (
        "litellm_settings: {additional_drop_params: [seed]}\n"
        "model_list: [{model_name: m, litellm_params: {model: openai/m, api_key: k, additional_drop_params: [user]}}]"
    )
    loaded = parsed(text)
    (target,) = table.build(loaded.deployments, "tollgate", loaded.litellm, {}).values()
    assert target.parameters is not None
    fields = {name: msgspec.Raw(b'"x"') for name in ("seed", "user", "model")}
    assert set(target.parameters.apply(fields)) == {"model"}


def test_where_people_sign_in_may_stand_in_the_file() -> None:
    general = parsed("general_settings: {proxy_base_url: 'https://llm.example/'}").general_settings
    assert sso_settings.read({}, general, {}).base_url == "https://llm.example"
    assert sso_settings.read({"PROXY_BASE_URL": "https://other"}, general, {}).base_url == "https://other"


def test_requests_of_everybody_at_once() -> None:
    """What happens to one too many: tests/edge/test_edge_server.py."""
    conf = EdgeSettings()
    asked = parsed("general_settings: {global_max_parallel_requests: 5}").general.global_max_parallel_requests
    assert setup._limits(conf, asked).requests_max == 5
    assert setup._limits(conf, None).requests_max == setup._limits(conf, 10**6).requests_max == conf.edge_requests_max
    with pytest.raises(ConfigError, match="global_max_parallel_requests"):
        parsed("general_settings: {global_max_parallel_requests: -1}")
    assert setup._limits(conf, 0).requests_max == conf.edge_requests_max
