"""Models added by API on an edge: secrets are sealed before they leave it, and what policy says is
called as it now is.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.edge.config import EdgeSettings
from services.edge.stored import StoredModels, bodies, front
from services.edge.upstream import Client, Deadlines, Origin, UpstreamError
from services.policy.app import shown
from services.policy.decide import MASTER
from shared import config, errors, routes, subjects
from shared.entities import Model
from shared.errors import Refusal, RefusedError
from shared.grant import Candidate, Denial, Grant
from shared.ids import digest_key
from shared.outbound import Guard
from shared.requests import AdminReply, AdminRequest, DecideReply, DecideRequest, ShownReply, ShownRequest
from shared.routes import Match
from tests.edge.fakes import Provider, always, response
from tests.edge.harness import CALLER, Edge
from tests.policy.world import CONFIG, MASTER_KEY, World, secret

SECRET = "sk-of-the-provider-0123456789"
TEXT = CONFIG + "  store_model_in_db: true\n"
OF_MODELS = ["control.model.>", "control.credential.>"]
SALT = {"LITELLM_SALT_KEY": "a-salt-of-at-least-sixteen-characters"}


class Policy:
    """Policy's own code on the other side of a scripted bus."""

    def __init__(self, text: str = TEXT) -> None:
        self.world = World(text=text)
        self.asked: list[AdminRequest] = []
        self.silent = False

    def admin(self, request: AdminRequest) -> AdminReply:
        self.asked.append(request)
        before = self.world.seq
        answer = self.world.call(request.route, request.body, query=request.query, params=request.params)
        if isinstance(answer, Refusal):
            return AdminReply(answer.status, errors.render(answer), self.world.seq)
        changed = [
            subjects.control(f.kind, f.entity_id)
            for f in self.world.facts[-(self.world.seq - before) or len(self.world.facts) :]
        ]
        return AdminReply(200, msgspec.json.encode(answer), self.world.seq, changed)

    def shown(self, request: ShownRequest) -> ShownReply:
        if self.silent:
            raise TimeoutError
        return shown(self.world.directory, request, self.world.seq)

    def decide(self, request: DecideRequest) -> DecideReply:
        if request.key_sha256 is None:
            return DecideReply(Denial(errors.no_key(), self.world.seq, [], rule="credential"))
        if request.key_sha256 == digest_key(MASTER_KEY):
            return DecideReply(Grant(MASTER, request.route, request.model, self.world.seq, OF_MODELS))
        candidates = self.world.catalog.candidates(request.model)
        if request.model and not candidates:
            return DecideReply(
                Denial(errors.unknown_model(request.route, request.model), self.world.seq, OF_MODELS, CALLER)
            )
        return DecideReply(Grant(CALLER, request.route, request.model, self.world.seq, OF_MODELS, candidates))


class Here:
    """An edge that knows this policy."""

    def __init__(
        self,
        policy: Policy,
        directory: Path,
        *,
        text: str = TEXT,
        environ: dict[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self.policy, self.edge = policy, Edge({"own": ["mock:hello"]})
        self.edge.bus.answers |= {
            subjects.POLICY_ADMIN: policy.admin, subjects.POLICY_SHOWN: policy.shown, subjects.POLICY_DECIDE: policy.decide,
        }  # fmt: skip
        loaded = config.parse(text, SALT if environ is None else environ)
        conf = EdgeSettings(data_dir=str(directory), edge_model_networks="127.0.0.0/8", **settings)
        self._build = lambda parts: front.build(
            conf, loaded, SALT if environ is None else environ, "test", parts.targets, parts.left_out
        )

    async def __aenter__(self) -> "Here":
        await self.edge.__aenter__()
        parts, bus = self.edge.parts, self.edge.bus
        self.stored: StoredModels = self._build(parts)(bus, lambda: self.edge.grants.seen_seq)
        parts.stored = self.stored
        self.edge.grants._prepare = self.stored.ready
        self.stored.start()
        await self.stored.refresh()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stored.close()
        await self.edge.__aexit__()

    async def manage(
        self, method: str, path: str, body: dict[str, Any] | None = None, key: str | None = MASTER_KEY
    ) -> tuple[int, Any]:
        async with await self.edge.connect() as caller:
            raw = json.dumps(body or {}).encode()
            said = "" if key is None else f"authorization: Bearer {key}\r\n"
            head = f"{method} {path} HTTP/1.1\r\nhost: x\r\n{said}content-length: {len(raw)}\r\n\r\n"
            await caller.send(head.encode() + raw)
            answer = await caller.answer()
            return answer.status, json.loads(answer.body)


@pytest.mark.asyncio
@pytest.mark.parametrize(("key", "status"), [(None, 401), (secret("a"), 403)])
async def test_nobody_but_admins_hears_what_is_wrong_with_a_model(tmp_path: Path, key: str | None, status: int) -> None:
    """It tells which variables the environment has, and where addresses lead. Policy isn't asked:
    the secrets aren't sealed yet."""
    policy = Policy()
    async with Here(policy, tmp_path) as here:
        for method, path, field in (
            ("POST", "/model/new", "litellm_params"),
            ("POST", "/credentials", "credential_values"),
        ):
            for values in ({"model": "openai/x"}, {"model": "openai/x", "api_key": "os.environ/OPENAI_API_KEY"}):
                sent = {"model_name": "n", "credential_name": "n", field: values}
                assert (await here.manage(method, path, sent, key))[0] == status
        assert policy.asked == []
        assert (await here.manage("POST", "/model/new", {"model_name": "n", "litellm_params": {"model": "openai/x"}}))[
            0
        ] == 400


HELLO = (
    b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)
ANSWER = response(HELLO)


@pytest.mark.asyncio
async def test_added_called_changed_and_gone(tmp_path: Path) -> None:
    policy = Policy()
    async with Provider(always(ANSWER)) as upstream, Here(policy, tmp_path) as here, Here(policy, tmp_path) as other:
        params = {"model": "openai/gpt-x", "api_key": SECRET, "api_base": upstream.url, "headers": {"x-team": "blue"}}
        status, row = await here.manage("POST", "/model/new", {"model_name": "added", "litellm_params": params})
        assert status == 200, row
        model_id = row["model_id"]
        assert row["litellm_params"] == {
            "model": "openai/gpt-x",
            "api_base": upstream.url,
            "api_key": "********",
            "headers": "********",
        }
        on_the_bus = str(policy.asked) + str(here.edge.bus.sent) + str(policy.world.facts)
        assert SECRET not in on_the_bus and "blue" not in on_the_bus and "sealed" in on_the_bus

        # The other edge has heard of nothing: the decision itself makes it ask first.
        for each in (here, other):
            answer = await each.edge.chat("added")
            assert answer.status == 200, answer.body
        for head, body in zip(upstream.heads, upstream.bodies, strict=True):
            assert f"authorization: Bearer {SECRET}".encode() in head and b"x-team: blue" in head
            assert json.loads(body)["model"] == "gpt-x"

        status, _ = await here.manage(
            "PATCH", f"/model/{model_id}/update", {"litellm_params": {"api_key": "sk-another-key-0123456789"}}
        )
        assert status == 200
        other.edge.grants.forget(subjects.control("model", model_id), policy.world.seq)  # as the feed tells it
        assert (await other.edge.chat("added")).status == 200
        assert b"Bearer sk-another-key-0123456789" in upstream.heads[-1]

        status, _ = await here.manage("POST", "/model/delete", {"id": model_id})
        assert status == 200
        assert (await here.edge.chat("added")).status == 400
        other.edge.grants.forget(subjects.control("model", model_id), policy.world.seq)
        assert (await other.edge.chat("added")).status == 400


@pytest.mark.asyncio
async def test_a_credential_changes_under_its_models(tmp_path: Path) -> None:
    policy = Policy()
    async with Provider(always(ANSWER)) as upstream, Here(policy, tmp_path) as here, Here(policy, tmp_path) as other:
        values = {"api_key": SECRET, "api_base": upstream.url}
        status, _ = await here.manage("POST", "/credentials", {"credential_name": "c/1", "credential_values": values})
        assert status == 200
        params = {"model": "openai/x", "litellm_credential_name": "c/1"}
        status, row = await here.manage("POST", "/model/new", {"model_name": "by-name", "litellm_params": params})
        assert status == 200, row
        assert (await other.edge.chat("by-name")).status == 200 and SECRET.encode() in upstream.heads[-1]
        status, _ = await here.manage(
            "PATCH", "/credentials/c/1", {"credential_values": {"api_key": "sk-rotated-0123456789"}}
        )
        assert status == 200
        other.edge.grants.forget(subjects.control("credential", "c/1"), policy.world.seq)
        assert (await other.edge.chat("by-name")).status == 200 and b"sk-rotated-0123456789" in upstream.heads[-1]
        assert SECRET not in str(policy.asked) and "sk-rotated" not in str(policy.asked) + str(policy.world.facts)
        status, shown_ = await here.manage("GET", "/credentials")
        assert shown_["credentials"][0]["credential_values"] == {"api_base": upstream.url, "api_key": "********"}


@pytest.mark.asyncio
async def test_another_machines_sealing_key_leaves_the_model_out_with_a_sentence(tmp_path: Path) -> None:
    policy = Policy()
    elsewhere = {"LITELLM_SALT_KEY": "another-salt-of-sixteen-characters"}
    async with Here(policy, tmp_path) as here, Here(policy, tmp_path / "b", environ=elsewhere) as other:
        params = {"model": "openai/x", "api_key": SECRET}
        await here.manage("POST", "/model/new", {"model_name": "sealed", "litellm_params": params})
        answer = await other.edge.chat("sealed")
        assert answer.status == 503 and b"sealed with the key" in answer.body and SECRET.encode() not in answer.body


@pytest.mark.asyncio
async def test_without_a_salt_key_the_edges_of_a_machine_share_a_file(tmp_path: Path) -> None:
    policy = Policy()
    async with Here(policy, tmp_path, environ={}) as here, Here(policy, tmp_path, environ={}) as other:
        params = {"model": "openai/x", "api_key": SECRET, "mock_response": "hello"}
        status, _ = await here.manage("POST", "/model/new", {"model_name": "sealed", "litellm_params": params})
        assert status == 200 and (await other.edge.chat("sealed")).status == 200
        assert os.stat(tmp_path / "sealing.key").st_mode & 0o777 == 0o600


@pytest.mark.asyncio
async def test_policy_that_does_not_answer_costs_a_sentence_not_a_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("READY_S", 0.05), ("AGAIN_S", 0.05), ("TIMEOUT_MS", 50)):
        monkeypatch.setattr(f"services.edge.stored.models.{name}", value)
    policy = Policy()
    async with Here(policy, tmp_path) as here, Here(policy, tmp_path) as other:
        policy.silent = True
        await here.manage(
            "POST", "/model/new", {"model_name": "m", "litellm_params": {"model": "openai/x", "api_key": SECRET}}
        )
        answer = await other.edge.chat("m")
        assert answer.status == 429 and b"No deployments available" in answer.body
        policy.silent = False


def check(body: dict[str, Any], route: str = "/model/new", known: StoredModels | None = None) -> dict[str, Any]:
    loaded = config.parse(TEXT, SALT)
    known = known or front.build(EdgeSettings(), loaded, SALT, "test", {}, {})(None, int)
    row = routes.named(route)
    assert row is not None
    return bodies.sealed(known, Match(row, {}), body)


WRONG = {
    "a variable": ({"model": "openai/x", "api_key": "os.environ/DATABASE_URL"}, "config.yaml"),
    "in a header": ({"model": "openai/x", "api_key": "k", "headers": {"x": "Bearer os.environ/DATABASE_URL"}}, "config.yaml"),
    "a file": ({"model": "vertex_ai/g", "vertex_project": "p", "vertex_credentials": "/etc/passwd"}, "service account"),
    "a kind that reads files": (
        {"model": "vertex_ai/g", "vertex_project": "p", "vertex_credentials": {"type": "external_account"}},
        "service account",
    ),
    "a token from elsewhere": (
        {"model": "vertex_ai/g", "vertex_project": "p", "vertex_credentials": {"type": "service_account", "token_uri": "https://evil.example"}},
        "token_uri",
    ),
    "a line break": ({"model": "openai/x", "api_key": "a\r\nx: y"}, "api_key"),
    "no key at all": ({"model": "anthropic/claude"}, "api_key"),
    "half a pair": ({"model": "bedrock/x", "aws_access_key_id": "a", "api_base": "https://evil.example"}, "evil.example"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_could_not_be_called_or_reaches_too_far_is_refused(name: str) -> None:
    params, said = WRONG[name]
    with pytest.raises(RefusedError) as refused:
        check({"model_name": "m", "litellm_params": params})
    assert refused.value.refusal.status == 400 and said in refused.value.refusal.message


@pytest.mark.parametrize(
    "secret",
    [
        {"api_key": SECRET}, {"aws_secret_access_key": SECRET, "aws_access_key_id": "AKIA"}, {"headers": {"authorization": SECRET}},
        {"extra_headers": {"x": SECRET}}, {"my_own_token": SECRET}, {"extra_body": {"inner": {"api_key": SECRET}}}, {"note": SECRET},
        {"extra_body": {"list": [SECRET]}},
    ],
)  # fmt: skip
def test_whatever_looks_like_a_secret_is_sealed(secret: dict[str, Any]) -> None:
    made = check(
        {
            "model_name": "m",
            "litellm_params": {"model": "openai/x", "api_base": "https://x.example", "max_tokens": 9, **secret},
        }
    )
    assert SECRET not in str(made) and set(made["sealed"]) == set(secret) == set(made["secrets"])
    assert made["litellm_params"]["max_tokens"] == 9


def test_sealed_for_its_place_and_never_what_the_client_calls_sealed() -> None:
    made = check(
        {"model_name": "m", "litellm_params": {"model": "openai/x", "api_key": SECRET}, "sealed": {"api_key": ["x"]}}
    )
    loaded = config.parse(TEXT, SALT)
    known = front.build(EdgeSettings(), loaded, SALT, "test", {}, {})(None, int)
    model = Model(model_id=made["new_id"], model_name="m", litellm_params=made["litellm_params"], sealed=made["sealed"])
    key = known.deployment(model).api_key
    assert key is not None and key.reveal() == SECRET
    with pytest.raises(Exception, match="belongs to something else"):
        known.deployment(msgspec.structs.replace(model, model_id="another"))


@pytest.mark.asyncio
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_private_address_is_not_called_unless_it_is_listed(host: str) -> None:
    deadlines = Deadlines(total_ms=2_000)
    async with Provider(always(ANSWER)) as upstream:
        port = upstream.port
        client = Client()
        try:
            with pytest.raises(UpstreamError, match="private network"):
                await client.send(
                    Origin("http", host, port, Guard.for_named_targets()), "POST", "/", b"", b"", deadlines
                )
            listed = Guard.for_named_targets(["127.0.0.0/8", "::1"])
            found = await client.send(Origin("http", host, port, listed), "POST", "/", b"", b"", deadlines)
            assert found.status == 200
        finally:
            await client.close()


@pytest.mark.asyncio
async def test_a_target_that_was_taken_away_stays_for_the_calls_that_began(tmp_path: Path) -> None:
    policy = Policy()
    async with Here(policy, tmp_path) as here:
        params = {"model": "openai/x", "mock_response": "hello"}
        _, row = await here.manage("POST", "/model/new", {"model_name": "m", "litellm_params": params})
        model_id = row["model_id"]
        await here.manage("POST", "/model/delete", {"id": model_id})
        assert model_id in here.edge.parts.targets
        here.stored._gone(model_id)
        assert model_id not in here.edge.parts.targets
        candidate = Candidate(model_id, "openai", "x", revision=10**9)
        await asyncio.wait_for(here.stored.ready(Grant(CALLER, "", "", 1, [], [])), 10)
        assert not here.stored._knows(candidate)
