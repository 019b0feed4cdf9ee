"""Credentials that must be fetched or made: Google's tokens from a real exchange, AWS's signatures
from whatever the machine offers.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Theirs
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from services.edge.providers import table
from services.edge.providers.base import CredentialsError, Target
from services.edge.providers.bedrock import model_id
from services.edge.providers.vertex import GoogleToken, kind_of
from shared import config
from shared.ids import DeploymentId
from shared.secrets.value import Secret
from tests.support.serving import handled_by, serving


def built(params: dict[str, Any], environ: dict[str, str] | None = None) -> Target:
    entry = {"model_name": "m", "litellm_params": params}
    (deployment,) = config.parse(json.dumps({"model_list": [entry]}), environ or {}).deployments
    (target,) = table.build([deployment], "test", None, environ).values()
    return target


@pytest.fixture(scope="module")
def key() -> str:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@asynccontextmanager
async def google(
    key: str, answers: list[tuple[int, dict[str, Any]]]
) -> AsyncIterator[tuple[dict[str, Any], list[Any]]]:
    """A token endpoint, and a service account's key that names it."""
    asked: list[Any] = []

    async def token(request: web.Request) -> web.Response:
        asked.append(dict(await request.post()))
        status, body = answers.pop(0)
        return web.json_response(body, status=status)

    async with serving(handled_by(token, "POST", "/token")) as url:
        account = {
            "type": "service_account", "project_id": "p-of-key", "private_key_id": "1", "private_key": key, "client_id": "1",
            "client_email": "me@p.iam.gserviceaccount.com", "token_uri": url + "/token",
        }  # fmt: skip
        yield account, asked


async def test_a_service_account_is_exchanged_for_a_token_once_for_many_calls(key: str, tmp_path: Path) -> None:
    answers = [(200, {"access_token": "ya29.x", "expires_in": 3600, "token_type": "Bearer"})]
    async with google(key, answers) as (account, asked):
        file = tmp_path / "key.json"
        file.write_text(json.dumps(account))
        for given in (Secret(json.dumps(account)), Secret(str(file))):
            answers[:] = [(200, {"access_token": "ya29.x", "expires_in": 3600, "token_type": "Bearer"})]
            asked.clear()
            token = GoogleToken(given, {})
            lines = await asyncio.gather(*(token.headers("POST", "/", b"") for _ in range(5)))
            assert set(lines) == {b"authorization: Bearer ya29.x\r\n"}
            assert len(asked) == 1 and asked[0]["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
            assert token.project() == "p-of-key"
            assert time.time() + 3000 < token._until < time.time() + 3700


async def test_no_token_is_an_error_without_a_secret(key: str) -> None:
    refusals = [(400, {"error": "invalid_grant", "error_description": "no"})] * 3
    async with google(key, refusals) as (account, _):
        with pytest.raises(CredentialsError) as error:
            await GoogleToken(Secret(json.dumps(account)), {}).headers("POST", "/", b"")
        assert "Google gave no token" in str(error.value) and "PRIVATE" not in str(error.value)
    with pytest.raises(CredentialsError):
        await GoogleToken(Secret("/no/such/file"), {}).headers("POST", "/", b"")


def test_where_vertex_is_called() -> None:
    params = {
        "model": "vertex_ai/gemini-2.5-pro",
        "vertex_location": "europe-west4",
        "vertex_credentials": '{"project_id": "p"}',
    }
    target = built(params)
    assert built({**params, "vertex_credentials": {"project_id": "p"}}).base_path == target.base_path
    assert target.origin is not None and target.origin.authority == "europe-west4-aiplatform.googleapis.com"
    assert target.base_path == "/v1/projects/p/locations/europe-west4"
    target = built({"model": "vertex_ai/gemini-2.5-pro"}, {"VERTEXAI_PROJECT": "q", "VERTEXAI_LOCATION": "global"})
    assert target.origin is not None and target.origin.authority == "aiplatform.googleapis.com"
    assert target.base_path == "/v1/projects/q/locations/global"
    other = built({"model": "vertex_ai/meta/llama-3.3-70b-instruct-maas", "vertex_project": "p"})
    path = other.provider.path(other, "openai_chat", "meta/llama-3.3-70b-instruct-maas", stream=True)
    assert path == "/v1/projects/p/locations/us-central1/endpoints/openapi/chat/completions"


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("gemini-2.5-pro", "gemini"),
        ("claude-opus-4@20250514", "claude"),
        ("mistral-large-2411", "openai"),
        ("openai/gpt-oss-120b-maas", "openai"),
        ("text-embedding-005", "gemini"),
    ],
)
def test_vertexs_wires(model: str, kind: str) -> None:
    assert kind_of(model) == kind


def test_one_model_without_its_project_doesnt_stop_the_others() -> None:
    entries = [
        {"model_name": "a", "litellm_params": {"model": "vertex_ai/gemini-2.5-pro"}, "model_info": {"id": "a"}},
        {"model_name": "b", "litellm_params": {"model": "openai/x", "api_key": "k"}, "model_info": {"id": "b"}},
    ]
    deployments = config.parse(json.dumps({"model_list": entries}), {}).deployments
    left_out: dict[DeploymentId, str] = {}
    assert set(table.build(deployments, "test", None, {}, left_out)) == {"b"}
    assert "vertex_project is missing" in left_out[DeploymentId("a")]


AWS = {"AWS_ACCESS_KEY_ID": "AKENV", "AWS_SECRET_ACCESS_KEY": "envsecret", "AWS_SESSION_TOKEN": "envtoken"}


async def test_without_keys_the_environments_sign_as_botocore_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    target = built({"model": "bedrock/anthropic.claude-3-haiku-20240307-v1:0"}, {**AWS, "AWS_REGION": "eu-west-3"})
    assert target.origin is not None and target.origin.authority == "bedrock-runtime.eu-west-3.amazonaws.com"
    path = target.provider.path(target, "openai_chat", "anthropic.claude-3-haiku-20240307-v1:0", stream=False)
    assert target.credentials is not None
    lines = (await target.credentials.headers("POST", path, b"{}")).decode().strip().split("\r\n")
    ours = dict(line.split(": ", 1) for line in lines)
    assert ours["x-amz-security-token"] == "envtoken"
    request = AWSRequest("POST", f"https://{target.origin.authority}{path}", data=b"{}")
    request.context["timestamp"] = ours["x-amz-date"]
    signer = SigV4Auth(Theirs("AKENV", "envsecret", "envtoken"), "bedrock", "eu-west-3")
    request.headers["X-Amz-Date"], request.headers["X-Amz-Security-Token"] = ours["x-amz-date"], "envtoken"
    text = signer.string_to_sign(request, signer.canonical_request(request))
    assert ours["authorization"].endswith(f"Signature={signer.signature(text, request)}")


async def test_without_any_credentials_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in AWS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    target = built({"model": "bedrock/amazon.nova-pro-v1:0"})
    assert target.credentials is not None
    with pytest.raises(CredentialsError):
        await target.credentials.headers("POST", "/", b"")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("converse/us.amazon.nova-pro-v1:0", "us.amazon.nova-pro-v1:0"),
        ("us-west-2/anthropic.claude-v2", "anthropic.claude-v2"),
        ("us-gov-west-1/invoke/anthropic.claude-v2", "anthropic.claude-v2"),
        ("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.x", "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.x"),
    ],
)
def test_the_models_id_without_litellms_routes(given: str, sent: str) -> None:
    assert model_id(given) == sent


def test_an_arn_says_the_region() -> None:
    target = built({"model": "bedrock/arn:aws:bedrock:eu-west-1:1:inference-profile/eu.x", "api_key": "k"})
    assert target.origin is not None and target.origin.authority == "bedrock-runtime.eu-west-1.amazonaws.com"
    path = target.provider.path(
        target, "openai_chat", "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.x", stream=False
    )
    assert path == "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Feu.x/converse"


@pytest.mark.parametrize(
    ("api_base", "path"),
    [
        ("https://r.services.ai.azure.com", "/anthropic/v1/messages"),
        ("https://r.services.ai.azure.com/anthropic", "/anthropic/v1/messages"),
        ("https://r.services.ai.azure.com/anthropic/v1/messages", "/anthropic/v1/messages"),
        ("https://r.services.ai.azure.com/models", "/anthropic/v1/messages"),
    ],
)
def test_claude_in_azure_ai_foundry(api_base: str, path: str) -> None:
    target = built({"model": "azure_ai/claude-sonnet-4-5", "api_base": api_base, "api_key": "k"})
    assert target.provider.path(target, "openai_chat", "claude-sonnet-4-5", stream=False) == path
    assert b"x-api-key: k\r\n" in target.headers
