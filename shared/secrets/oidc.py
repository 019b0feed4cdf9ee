"""`oidc/PROVIDER/AUDIENCE`: a token that says who this machine is, from whoever runs it; LiteLLM's
forms.

oidc/google/AUDIENCE       Google Cloud's metadata server
oidc/github/AUDIENCE       GitHub Actions (ACTIONS_ID_TOKEN_REQUEST_URL, ACTIONS_ID_TOKEN_REQUEST_TOKEN)
oidc/circleci/, oidc/circleci_v2/   CIRCLE_OIDC_TOKEN, CIRCLE_OIDC_TOKEN_V2
oidc/azure/                the file that AZURE_FEDERATED_TOKEN_FILE names
oidc/file/PATH             a file below /var/run/secrets, /run/secrets or LITELLM_OIDC_ALLOWED_CREDENTIAL_DIRS
oidc/env/NAME              a variable
oidc/env_path/NAME         the file that a variable names
"""  # noqa: W505

import asyncio
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import msgspec

from shared.decoding import UNREADABLE
from shared.outbound import Guard, Outbound, OutboundError, OutboundSettings
from shared.secrets.base import Manager, ReadOnly, SecretError
from shared.secrets.file import FileSecrets
from shared.secrets.settings import KeyManagement

NAME = "oidc"
DIRECTORIES = "/var/run/secrets,/run/secrets"
GOOGLE = "http://{host}/computeMetadata/v1/instance/service-accounts/default/identity?audience={audience}"
DEADLINE_MS = 3_000
ANSWER_BYTES_MAX = 64 * 1024
VARIABLES = {"circleci": "CIRCLE_OIDC_TOKEN", "circleci_v2": "CIRCLE_OIDC_TOKEN_V2"}


class Oidc(ReadOnly):
    name = NAME

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._outbound = Outbound(OutboundSettings.read(environ), Guard(any_address=True))
        listed = environ.get("LITELLM_OIDC_ALLOWED_CREDENTIAL_DIRS") or DIRECTORIES
        self._files = FileSecrets([Path(each.strip()) for each in listed.split(",") if each.strip()])

    async def read(self, name: str) -> str | None:
        provider, _, rest = name.partition("/")
        if provider == "google":
            host = self._environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
            url = GOOGLE.format(host=host, audience=quote(rest, safe=""))
            return (await self._asked(name, url, {"Metadata-Flavor": "Google"})).decode().strip()
        if provider == "github":
            return await self._github(name, rest)
        if provider in VARIABLES:
            return self._environ.get(VARIABLES[provider])
        if provider == "env":
            return self._environ.get(rest)
        if provider == "file":
            return await self._files.read(rest if rest.startswith("/") else "/" + rest)
        if provider in ("azure", "env_path"):
            path = self._environ.get("AZURE_FEDERATED_TOKEN_FILE" if provider == "azure" else rest)
            return await asyncio.to_thread(_text, path, name) if path else None
        raise SecretError(
            "not_supported", NAME, name, "google, github, circleci, circleci_v2, azure, file, env, env_path"
        )

    async def close(self) -> None:
        await self._outbound.close()

    async def _github(self, name: str, audience: str) -> str | None:
        url = self._environ.get("ACTIONS_ID_TOKEN_REQUEST_URL")
        token = self._environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
        if not url or not token:
            return None
        url += ("&" if "?" in url else "?") + "audience=" + quote(audience, safe="")
        body = await self._asked(name, url, {"Authorization": f"Bearer {token}", "Accept": "application/json"})
        try:
            return str(msgspec.json.decode(body, type=dict[str, str])["value"])
        except (*UNREADABLE, KeyError):
            raise SecretError("junk", NAME, name) from None

    async def _asked(self, name: str, url: str, headers: dict[str, str]) -> bytes:
        try:
            answer = await self._outbound.send(
                "GET", url, headers=headers, deadline_ms=DEADLINE_MS, answer_bytes_max=ANSWER_BYTES_MAX
            )
        except OutboundError as error:
            code = "timeout" if error.code == "timeout" else "unreachable"
            raise SecretError(code, NAME, name, error.code) from None
        if answer.status != 200:
            kind = "denied" if answer.status in (401, 403) else "unreachable"
            raise SecretError(kind, NAME, name, f"status {answer.status}")
        return answer.body


def _text(path: str, name: str) -> str | None:
    """Of a file that the environment itself names."""
    try:
        return Path(path).read_text().strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError("denied", NAME, name, type(error).__name__) from None


def make(environ: Mapping[str, str], settings: KeyManagement) -> Manager:
    return Oidc(environ)
