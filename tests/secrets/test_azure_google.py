"""Azure Key Vault by its challenge protocol, and Google's REST interfaces, from local servers that
speak them.
"""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from azure.core.credentials import AccessToken

from shared.secrets import KeyManagement, SecretError
from shared.secrets.azure import AzureVault
from shared.secrets.azure import make as make_azure
from shared.secrets.google import make as make_google
from shared.secrets.google_kms import make as make_google_kms
from shared.settings import SettingsError
from tests.support.managers import new_rsa_pem, self_signed
from tests.support.ports import free_port
from tests.support.serving import serving


class Credential:
    """Asked for a token with the challenge's scope."""

    def __init__(self) -> None:
        self.scopes: list[str] = []

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.scopes += scopes
        return AccessToken("azure-token", 4_000_000_000)

    async def close(self) -> None: ...

    async def __aenter__(self) -> "Credential":
        return self

    async def __aexit__(self, *_: object) -> None: ...


@pytest.fixture
async def azure(tmp_path: Path) -> AsyncIterator[tuple[AzureVault, dict[str, Any], Credential]]:
    kept: dict[str, Any] = {"OPENAI-API-KEY": "sk-azure"}

    async def secret(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer azure-token":
            challenge = (
                'Bearer authorization="https://login.microsoftonline.com/TENANT", resource="https://vault.azure.net"'
            )
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        name = request.match_info["name"]
        if name == "FORBIDDEN":
            return web.json_response({"error": {"code": "Forbidden", "message": "no"}}, status=403)
        if name == "JUNK":
            return web.Response(text="<html>", content_type="text/html")
        if request.method == "PUT":
            kept[name] = (await request.json())["value"]
        if request.method == "DELETE":
            kept.pop(name, None)
            return web.json_response(
                {"id": f"https://x/secrets/{name}", "recoveryId": f"https://x/deletedsecrets/{name}"}
            )
        if name not in kept:
            return web.json_response({"error": {"code": "SecretNotFound", "message": "none"}}, status=404)
        return web.json_response(
            {"value": kept[name], "id": f"https://127.0.0.1/secrets/{name}/1", "attributes": {"enabled": True}}
        )

    app = web.Application()
    for path in ("/secrets/{name}", "/secrets/{name}/", "/secrets/{name}/{version}"):
        app.router.add_route("*", path, secret)
    files = self_signed(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(files.certificate, files.key)
    credential = Credential()
    options = {"verify_challenge_resource": False, "connection_verify": str(files.certificate)}
    async with serving(app, tls=tls) as url:
        vault = AzureVault(url, credential, **options)
        yield vault, kept, credential
        await vault.close()


async def test_azure_answers_the_challenge_and_reads(azure: tuple[AzureVault, dict[str, Any], Credential]) -> None:
    vault, kept, credential = azure
    assert await vault.read("OPENAI_API_KEY") == "sk-azure"
    assert credential.scopes[0] == "https://vault.azure.net/.default"
    assert await vault.read("MISSING") is None
    await vault.write("MADE_BY_US", "v")
    assert kept["MADE-BY-US"] == "v"
    for name, code in (("FORBIDDEN", "denied"), ("a/../b", "bad_name"), ("ä", "bad_name")):
        with pytest.raises(SecretError) as failed:
            await vault.read(name)
        assert failed.value.code == code


async def test_azure_that_is_down_or_talks_junk(azure: tuple[AzureVault, dict[str, Any], Credential]) -> None:
    with pytest.raises(SecretError):
        await azure[0].read("JUNK")
    down = AzureVault(f"https://127.0.0.1:{free_port()}", Credential(), retry_total=0)
    with pytest.raises(SecretError, match="unreachable"):
        await down.read("A")
    await down.close()
    with pytest.raises(SettingsError, match="AZURE_KEY_VAULT_URI"):
        make_azure({}, KeyManagement())


@pytest.fixture
async def google(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    async def token(request: web.Request) -> web.Response:
        form = await request.post()
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        return web.json_response({"access_token": "google-token", "expires_in": 3600, "token_type": "Bearer"})

    async def access(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer google-token"
        name = request.match_info["name"]
        if name == "SLOW":
            await asyncio.sleep(6)
        if name == "FORBIDDEN":
            return web.json_response({"error": {"code": 403}}, status=403)
        if name == "JUNK":
            return web.json_response({"payload": {"data": "%%"}})
        if name != "A":
            return web.json_response({"error": {"code": 404}}, status=404)
        return web.json_response({"payload": {"data": base64.b64encode(b"sk-google").decode()}})

    async def decrypt(request: web.Request) -> web.Response:
        text = base64.b64decode((await request.json())["ciphertext"]).decode()
        return web.json_response({"plaintext": base64.b64encode(text[::-1].encode()).decode()})

    app = web.Application()
    app.router.add_post("/token", token)
    app.router.add_get("/v1/projects/p/secrets/{name}/versions/latest:access", access)
    app.router.add_post("/v1/projects/p/locations/l/keyRings/r/cryptoKeys/{name}", decrypt)
    path = tmp_path / "account.json"
    async with serving(app) as address:
        account = {
            "type": "service_account", "project_id": "p", "private_key_id": "1", "private_key": new_rsa_pem(), "client_id": "1",
            "client_email": "gateway@p.iam.gserviceaccount.com", "token_uri": address + "/token",
        }  # fmt: skip
        path.write_text(json.dumps(account))
        yield {
            "GOOGLE_APPLICATION_CREDENTIALS": str(path), "GOOGLE_SECRET_MANAGER_PROJECT_ID": "p", "GOOGLE_SECRET_MANAGER_ENDPOINT": address,
            "GOOGLE_KMS_ENDPOINT": address, "GOOGLE_KMS_RESOURCE_NAME": "projects/p/locations/l/keyRings/r/cryptoKeys/k",
        }  # fmt: skip


async def test_google_reads_the_newest_version(google: dict[str, str]) -> None:
    manager = make_google(google, KeyManagement())
    assert await manager.read("A") == "sk-google"
    assert await manager.read("MISSING") is None
    for name, code in (("FORBIDDEN", "denied"), ("JUNK", "junk"), ("a/b", "bad_name")):
        with pytest.raises(SecretError) as failed:
            await manager.read(name)
        assert failed.value.code == code
    with pytest.raises(SecretError, match="not_supported"):
        await manager.write("A", "b")
    await manager.close()
    with pytest.raises(SettingsError, match="GOOGLE_SECRET_MANAGER_PROJECT_ID"):
        make_google({}, KeyManagement())


async def test_google_kms_decrypts_the_environment(google: dict[str, str]) -> None:
    environ = {**google, "A": base64.b64encode(b"terces").decode(), "B": "no base64!"}
    manager = make_google_kms(environ, KeyManagement())
    assert await manager.read("A") == "secret" and await manager.read("MISSING") is None
    with pytest.raises(SecretError, match="junk"):
        await manager.read("B")
    await manager.close()
    with pytest.raises(SettingsError, match="GOOGLE_KMS_RESOURCE_NAME"):
        make_google_kms({**google, "GOOGLE_KMS_RESOURCE_NAME": "k"}, KeyManagement())


async def test_credentials_that_are_no_good_are_denied(google: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text("{}")
    manager = make_google({**google, "GOOGLE_APPLICATION_CREDENTIALS": str(path)}, KeyManagement())
    with pytest.raises(SecretError, match="denied"):
        await manager.read("A")
    await manager.close()
