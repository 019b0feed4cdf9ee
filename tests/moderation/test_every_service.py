"""Every guardrail that asks a service, whatever that does: `on_error` happens within the deadline,
the outcome says so, nothing of the text is logged; and what comes out of a stream doesn't depend on
how it was cut."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from services.edge.content.answer import of_event
from services.edge.formats.events import data_of, split_events
from services.edge.screening import Screening, StreamWindow
from services.moderation.guardrails import table
from services.moderation.guardrails.loaded import Loaded
from services.moderation.guardrails.parts import Parts
from services.moderation.guardrails.remote import FAILURES_MAX
from services.moderation.guardrails.scanners import SCANNERS
from services.moderation.screen import Screen
from shared import guardrails, subjects
from shared.config import parse
from shared.outbound import Outbound
from shared.requests import ScreenRequest
from tests.edge.fakes import FakeBus
from tests.moderation.moderation_kit import answered
from tests.support.ports import free_port
from tests.support.serving import handled_by, serving

PATIENT_MS = 20_000
"""Where the service answers or fails at once: a busy machine's slowness is no failure of it."""
SHORT_MS = 300
"""Where it never answers."""
SAID = "TOP SECRET bad end"


def moderated(asked: Any) -> Any:
    """Finds `bad` as each of the services would say it."""
    text = json.dumps(asked)
    return "bad" in text


def presidio(asked: Any) -> Any:
    at = asked["text"].find("bad")
    return [] if at < 0 else [{"entity_type": "PERSON", "start": at, "end": at + 3, "score": 0.9}]


def llm_guard(asked: Any) -> Any:
    clean = asked["prompt"].replace("bad", "***")
    return {"is_valid": True, "scanners": {}, "sanitized_prompt": clean}


def llm_guard_output(asked: Any) -> Any:
    return {"is_valid": True, "scanners": {}, "sanitized_output": asked["output"].replace("bad", "***")}


def generic(asked: Any) -> Any:
    texts = asked["texts"]
    new = [text.replace("bad", "***") for text in texts]
    return {"action": "NONE"} if new == texts else {"action": "GUARDRAIL_INTERVENED", "texts": new}


def openai(asked: Any) -> Any:
    return {
        "id": "m",
        "model": "omni",
        "results": [{"flagged": moderated(asked), "categories": {"hate": moderated(asked)}}],
    }


def google(asked: Any) -> Any:
    return {"moderationCategories": [{"name": "Toxic", "confidence": 0.99 if moderated(asked) else 0.0}]}


def completion(asked: Any) -> Any:
    return {"choices": [{"text": "unsafe\nS1" if "bad" in asked["prompt"] else "safe"}]}


def sagemaker(asked: Any) -> Any:
    return [{"generated_text": "unsafe\nO1" if "bad" in asked["inputs"] else "safe"}]


def azure_text(asked: Any) -> Any:
    return {
        "categoriesAnalysis": [{"category": "Hate", "severity": 6 if moderated(asked) else 0}],
        "blocklistsMatch": [],
    }


def azure_shield(asked: Any) -> Any:
    return {"userPromptAnalysis": {"attackDetected": moderated(asked)}, "documentsAnalysis": []}


def lakera(asked: Any) -> Any:
    return {"flagged": moderated(asked), "breakdown": []}


def aporia(asked: Any) -> Any:
    return {"action": "block" if moderated(asked) else "passthrough"}


def airs(asked: Any) -> Any:
    return {"action": "block" if moderated(asked) else "allow"}


def bedrock(asked: Any) -> Any:
    text = asked["content"][0]["text"]["text"]
    if "bad" not in text:
        return {"action": "NONE", "outputs": [], "assessments": [], "usage": {}}
    masked = {"piiEntities": [{"type": "NAME", "match": "bad", "action": "ANONYMIZED"}], "regexes": []}
    return {
        "action": "GUARDRAIL_INTERVENED", "outputs": [{"text": text.replace("bad", "{NAME}")}], "usage": {},
        "assessments": [{"sensitiveInformationPolicy": masked}],
    }  # fmt: skip


PATHS = {
    "/analyze": presidio, "/analyze/prompt": llm_guard, "/analyze/output": llm_guard_output,
    "/beta/litellm_basic_guardrail_api": generic, "/moderations": openai, "/v2/documents:moderateText": google,
    "/contentsafety/text:analyze": azure_text, "/contentsafety/text:shieldPrompt": azure_shield, "/v2/guard": lakera,
    "/validate": aporia, "/v1/scan/sync/request": airs, "/completions": completion, "/endpoints/lg/invocations": sagemaker,
    "/guardrail/g1/version/1/apply": bedrock,
}  # fmt: skip


class Service:
    """All of them at one address; `failing` makes it fail in one way."""

    failing = ""

    def __init__(self) -> None:
        self.port = free_port()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            return web.json_response({"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})
        match self.failing:
            case "slow":
                await asyncio.sleep(60)
            case "401" | "500" | "503":
                return web.Response(status=int(self.failing), text=SAID)
            case "redirect":
                return web.Response(status=307, headers={"Location": "/elsewhere" + request.path})
            case "junk":
                return web.Response(text="<html>" + SAID)
            case "odd":
                return web.json_response({"unexpected": [SAID]})
            case "null":
                return web.json_response(None)
            case "cut":
                assert request.transport is not None
                request.transport.close()
        return web.json_response(PATHS[request.path](await request.json()))


BY_BOTOCORE = ("sagemaker", "bedrock")
"""Clients are dear, it tries twice, and it raises for what isn't in the service's own model."""
FAILURES = ("down", "slow", "401", "500", "503", "redirect", "junk", "odd", "null", "cut")
KINDS = (
    "presidio",
    "llm_guard",
    "generic_guardrail_api",
    "openai_moderation",
    "google_text_moderation",
    "llamaguard",
    "sagemaker",
    "bedrock",
    *SCANNERS,
)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    running = Service()
    async with serving(handled_by(running.serve), port=running.port):
        yield running


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path_factory.mktemp("google") / "account.json"
    file.write_text(pem.decode())
    return file


def made(
    kind: str, port: int, outbound: Outbound, account: Path, mode: str, deadline_ms: int = PATIENT_MS
) -> list[Loaded]:
    url = f"http://127.0.0.1:{port}"
    environ = {
        "AWS_REGION_NAME": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": url, "AWS_MAX_ATTEMPTS": "1",
    }  # fmt: skip
    params: dict[str, Any] = {
        "guardrail": kind,
        "api_base": url,
        "mode": mode,
        "on_error": "block",
        "deadline_ms": deadline_ms,
    }
    if kind == "sagemaker":
        params |= {"guardrail": "llamaguard", "model": "sagemaker/lg"}
    elif kind == "llamaguard":
        params |= {"model": "llama-guard-3"}
    elif kind == "google_text_moderation":
        file = account.with_name(f"{port}.json")
        account_of = {
            "type": "service_account", "project_id": "p", "private_key_id": "1", "private_key": account.read_text(),
            "client_email": "a@p.iam.example", "token_uri": url + "/token",
        }  # fmt: skip
        file.write_text(json.dumps(account_of))
        params |= {"credentials": str(file)}
    elif kind == "openai_moderation" or kind in SCANNERS:
        params |= {"api_key": "k"}
    elif kind == "bedrock":
        params |= {"guardrailIdentifier": "g1", "guardrailVersion": 1, "aws_bedrock_runtime_endpoint": url}
    if kind == "panw_prisma_airs":
        params |= {"profile_name": "p"}
    tree = {"guardrails": [{"guardrail_name": "g", "litellm_params": params}]}
    config = parse(json.dumps(tree), environ, directory="", service="moderation")
    return table.load(Parts(config=config, environ=environ, outbound=outbound))


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_its_service_does(kind: str, service: Service, outbound: Outbound, account: Path) -> None:
    screen = Screen(made(kind, service.port, outbound, account, "pre_call"))
    question = ScreenRequest(["g"], "pre_call", [SAID], kinds=["text"], roles=["user"])
    (fine,) = (await answered(screen.screen(question))).outcomes
    assert fine.action in ("redact", "block"), kind
    for failing in FAILURES if kind not in BY_BOTOCORE else ("down", "slow", "401", "500", "junk", "odd", "redirect"):
        service.failing = failing
        port = free_port() if failing == "down" else service.port
        deadline_ms = SHORT_MS if failing == "slow" else PATIENT_MS
        screen = Screen(made(kind, port, outbound, account, "pre_call", deadline_ms))
        started = time.perf_counter()
        with capture_logs() as logs:
            verdict = await answered(screen.screen(question))
        assert time.perf_counter() - started < PATIENT_MS / 2_000, (kind, failing)
        assert verdict.action == "error", (kind, failing)
        assert [(o.name, o.stage, o.action) for o in verdict.outcomes] == [("g", "pre_call", "error")], (kind, failing)
        assert "TOP SECRET" not in str(logs), (kind, failing)
        if failing in (("down", "500", "junk") if kind not in BY_BOTOCORE else ("junk",)):
            for _ in range(FAILURES_MAX):
                await answered(screen.screen(question))
            assert "open" in {each.circuit for each in screen.services().services}, (kind, failing)


def event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"


async def streamed(loaded: list[Loaded], pieces: list[str]) -> tuple[str, str]:
    """(what came out, why nothing more did)."""
    bus: Any = FakeBus()
    bus.answers[subjects.MODERATION_SCREEN] = Screen(loaded).screen
    window = StreamWindow(Screening(bus, [each.enabled.ref() for each in loaded], "acompletion", None))
    out, refusal = b"", None
    for piece in pieces:
        more, refusal = await window.feed(event(piece))
        out += more
        if refusal is not None:
            break
    else:
        more, refusal = await window.end()
        out += more
    said = "".join(grown.text.text for each in split_events(out) for grown in of_event(data_of(each)))
    return said, "" if refusal is None else refusal.message


@pytest.mark.parametrize("kind", [*KINDS, "custom"])
async def test_an_answer_s_cuts_don_t_show(
    kind: str, service: Service, outbound: Outbound, account: Path, tmp_path: Path
) -> None:
    if kind == "custom":
        (tmp_path / "mine.py").write_text(
            "class Mine:\n    def __init__(self, **_): pass\n"
            "    def inspect(self, texts, stage): return [text.replace('bad', '***') for text in texts]\n"
        )
        tree = {
            "guardrails": [{"guardrail_name": "g", "litellm_params": {"guardrail": "mine.Mine", "mode": "post_call"}}]
        }
        config = parse(json.dumps(tree), {}, directory=str(tmp_path), service="moderation")
        loaded = table.load(Parts(config=config))
    else:
        loaded = made(kind, service.port, outbound, account, "post_call")
    for text in ("é bad 🙂 x", "all fine"):
        whole = await streamed(loaded, [text])
        assert "bad" not in whole[0] and (text != "all fine" or whole == (text, ""))
        for first, second in itertools.combinations(range(1, len(text)), 2):
            assert await streamed(loaded, [text[:first], text[first:second], text[second:]]) == whole, (first, second)
        assert await streamed(loaded, list(text)) == whole


def test_every_guardrail_that_needs_a_service_is_tried_here() -> None:
    needing = {spec.integration for spec in guardrails.TABLE if spec.needs}
    assert needing == set(KINDS) - {"sagemaker"}
