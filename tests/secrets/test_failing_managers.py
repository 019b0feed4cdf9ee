"""Each manager down, slow, forbidden, empty and talking junk: the documented code each time, and
never a value or a hang.
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from shared.secrets import KeyManagement, SecretError, Secrets
from shared.secrets.references import MANAGER_OF_PREFIX
from shared.startup import Source
from tests.support.managers import Bao, new_rsa_pem
from tests.support.pace import at_pace
from tests.support.ports import free_port
from tests.support.serving import handled_by, serving


class Odd:
    """Answers every request as it is told."""

    def __init__(self) -> None:
        self.port = free_port()
        self.how = "down"
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        if request.path == "/token":
            return web.json_response({"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})
        aws = "x-amz-target" in {name.lower() for name in request.headers}
        if self.how == "slow":
            await asyncio.sleep(2)
        if self.how == "denied":
            body: Any = {"__type": "AccessDeniedException"} if aws else {"errors": ["permission denied"]}
            return web.json_response(body, status=400 if aws else 403)
        if self.how == "missing":
            body = {"__type": "ResourceNotFoundException"} if aws else {"errors": []}
            return web.json_response(body, status=400 if aws else 404)
        return web.Response(text="<html>out of order</html>", content_type="text/html")


@pytest.fixture
async def odd() -> AsyncIterator[Odd]:
    found = Odd()
    yield found
    await found.stop()


def environ(odd: Odd, system: str, folder: Path) -> dict[str, str]:
    at = f"http://127.0.0.1:{odd.port}"
    if system == "hashicorp_vault":
        return {"HCP_VAULT_ADDR": at, "HCP_VAULT_TOKEN": "root"}
    if system.startswith("aws"):
        return {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION_NAME": "eu-central-1", "X": "QUJD"}
    account = folder / "account.json"
    account.write_text(json.dumps({
        "type": "service_account", "project_id": "p", "private_key_id": "1", "private_key": new_rsa_pem(), "client_id": "1",
        "client_email": "g@p.iam.gserviceaccount.com", "token_uri": at + "/token",
    }))  # fmt: skip
    return {
        "GOOGLE_APPLICATION_CREDENTIALS": str(account), "GOOGLE_SECRET_MANAGER_PROJECT_ID": "p",
        "GOOGLE_SECRET_MANAGER_ENDPOINT": at,
    }  # fmt: skip


PREFIX = {system: prefix for prefix, system in MANAGER_OF_PREFIX.items()}


@pytest.mark.parametrize("system", ["hashicorp_vault", "aws_secret_manager", "aws_kms", "google_secret_manager"])
async def test_what_a_manager_may_do_wrong(
    odd: Odd, system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{odd.port}")
    reference = f"{PREFIX[system]}/" + (base64.b64encode(b"x").decode() if system == "aws_kms" else "X")

    async def code(deadline_s: float = 10) -> str:
        secrets = Secrets(environ(odd, system, tmp_path), KeyManagement(system=system), deadline_s=deadline_s)
        try:
            found = await secrets.resolve(reference)
            return "missing" if found is None else "found"
        except SecretError as error:
            assert "out of order" not in str(error) and "permission" not in str(error)
            return error.code
        finally:
            await secrets.close()

    down = await code()
    assert down in ("unreachable", "timeout") or (system.startswith("google") and down == "denied")  # no token either
    await odd.start()
    for how, wanted in (("slow", "timeout"), ("denied", "denied"), ("missing", "missing"), ("junk", "junk")):
        odd.how = how
        found = await code(1 if how == "slow" else 10)
        if system == "aws_kms" and how == "missing":
            wanted = "denied"  # a key that isn't there decrypts nothing
        assert found == wanted or (how == "junk" and found == "unreachable"), (how, found)


@pytest.mark.alone
async def test_two_hundred_references_to_a_slow_manager(bao: Bao, tmp_path: Path) -> None:
    """100 ms each, as a service starts with them: ready within 3 seconds."""
    for number in range(20):
        bao.put(f"slow/{number}", key=f"sk-{number}")

    said: dict[str, bytes] = {}
    async with aiohttp.ClientSession() as onward:

        async def slowly(request: web.Request) -> web.Response:
            await asyncio.sleep(0.1)
            headers = {"X-Vault-Token": request.headers["X-Vault-Token"]}
            path = request.path.rpartition("/")
            url = f"{bao.address}{path[0]}/{int(path[2]) % 20}"
            if url not in said:
                async with onward.get(url, headers=headers) as answer:
                    said[url] = await answer.read()
            return web.Response(body=said[url], content_type="application/json")

        config = tmp_path / "config.yaml"
        entries = (
            f"- {{model_name: m{n}, litellm_params: {{model: openai/m, api_base: 'http://127.0.0.1:1', api_key: vault/slow/{n}}}}}"
            for n in range(200)
        )
        config.write_text("model_list:\n" + "\n".join(entries) + "\n")
        async with serving(handled_by(slowly, "GET", "/v1/secret/data/slow/{n}")) as url:
            begun = time.monotonic()
            source = await Source.open(str(config), {"HCP_VAULT_ADDR": url, "HCP_VAULT_TOKEN": "root"}, "edge")
            took_s = time.monotonic() - begun
            await source.close()
    keys = [each.api_key.reveal() for each in source.config.deployments if each.api_key]
    assert keys == [f"sk-{n % 20}" for n in range(200)]
    assert took_s < at_pace(3), f"{took_s:.2f} s"
