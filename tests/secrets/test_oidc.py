"""`oidc/...`: each of LiteLLM's forms, from where it comes."""

from pathlib import Path

import pytest
from aiohttp import web

from shared.secrets import KeyManagement, SecretError, Secrets
from shared.secrets.aws import make as make_aws
from tests.support.managers import Moto
from tests.support.serving import serving


async def said(environ: dict[str, str], reference: str) -> str | None:
    secrets = Secrets(environ)
    try:
        found = await secrets.resolve(reference)
        return None if found is None else found.reveal()
    finally:
        await secrets.close()


async def test_tokens_of_variables_and_files(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    (tmp_path.parent / "outside").write_text("no")
    environ = {
        "CIRCLE_OIDC_TOKEN": "c1", "CIRCLE_OIDC_TOKEN_V2": "c2", "AZURE_FEDERATED_TOKEN_FILE": str(file), "MINE": "from-env",
        "MINE_PATH": str(file), "LITELLM_OIDC_ALLOWED_CREDENTIAL_DIRS": str(tmp_path),
    }  # fmt: skip
    for reference, wanted in (
        ("oidc/circleci/", "c1"), ("oidc/circleci_v2/", "c2"), ("oidc/azure/aud", "from-file"), ("oidc/env/MINE", "from-env"),
        ("oidc/env_path/MINE_PATH", "from-file"), (f"oidc/file/{file}", "from-file"), ("oidc/env/NOT_THERE", None),
    ):  # fmt: skip
        assert await said(environ, reference) == wanted, reference
    for reference in (f"oidc/file/{tmp_path.parent}/outside", "oidc/file//etc/passwd", "oidc/nobody/aud"):
        with pytest.raises(SecretError):
            await said(environ, reference)


async def test_tokens_of_metadata_servers() -> None:
    async def google(request: web.Request) -> web.Response:
        assert request.headers["Metadata-Flavor"] == "Google"
        return web.Response(text="google for " + request.query["audience"])

    async def github(request: web.Request) -> web.Response:
        if request.headers["Authorization"] != "Bearer actions":
            return web.Response(status=403)
        return web.json_response({"value": f"github for {request.query['audience']} of {request.query['run']}"})

    app = web.Application()
    app.router.add_get("/computeMetadata/v1/instance/service-accounts/default/identity", google)
    app.router.add_get("/github", github)
    async with serving(app) as url:
        environ = {
            "GCE_METADATA_HOST": url.removeprefix("http://"),
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{url}/github?run=7",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "actions",
        }
        assert await said(environ, "oidc/google/https://aws.example/x") == "google for https://aws.example/x"
        assert await said(environ, "oidc/github/a b") == "github for a b of 7"
        with pytest.raises(SecretError, match="denied"):
            await said({**environ, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "wrong"}, "oidc/github/x")
        assert await said({}, "oidc/github/x") is None


async def test_a_role_of_aws_by_such_a_token(moto_server: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server.address)
    settings = KeyManagement(
        system="aws_secret_manager",
        aws_role_name="arn:aws:iam::123456789012:role/gateway",
        aws_web_identity_token="oidc/env/POD_TOKEN",
    )
    manager = make_aws({"AWS_REGION_NAME": "eu-central-1", "POD_TOKEN": "a.b.c"}, settings)
    assert await manager.read("NOTHING") is None
    assert manager._client._client._request_signer._credentials.token  # type: ignore[attr-defined]
    await manager.close()
    without = make_aws({"AWS_REGION_NAME": "eu-central-1"}, settings)
    with pytest.raises(SecretError, match="no web identity token"):
        await without.read("NOTHING")
    await without.close()
