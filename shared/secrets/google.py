"""Google Secret Manager: the newest version of a secret, by REST."""

import base64
import binascii
from collections.abc import Mapping

from shared.secrets.base import Manager, ReadOnly, SecretError
from shared.secrets.google_client import GoogleClient, address_of
from shared.secrets.settings import KeyManagement
from shared.settings import SettingsError

NAME = "google_secret_manager"
ADDRESS = "https://secretmanager.googleapis.com"


class GoogleSecrets(ReadOnly):
    name = NAME

    def __init__(self, client: GoogleClient, project: str) -> None:
        self._client = client
        self._project = project

    async def read(self, name: str) -> str | None:
        if not name or len(name) > 255 or not all(c.isascii() and (c.isalnum() or c in "-_") for c in name):
            raise SecretError("bad_name", NAME, name)
        answer = await self._client.call(
            "GET", f"/v1/projects/{self._project}/secrets/{name}/versions/latest:access", name
        )
        if answer is None:
            return None
        try:
            return base64.b64decode(answer["payload"]["data"], validate=True).decode()
        except (KeyError, TypeError, binascii.Error, ValueError):
            raise SecretError("junk", NAME, name) from None

    async def close(self) -> None:
        await self._client.close()


def make(environ: Mapping[str, str], settings: KeyManagement) -> Manager:
    project = environ.get("GOOGLE_SECRET_MANAGER_PROJECT_ID") or ""
    if not project or not all(c.isascii() and (c.isalnum() or c in "-:.") for c in project):
        raise SettingsError("google_secret_manager: GOOGLE_SECRET_MANAGER_PROJECT_ID must name the project")
    address = address_of(environ, "GOOGLE_SECRET_MANAGER_ENDPOINT", ADDRESS)
    return GoogleSecrets(GoogleClient(NAME, address, environ), project)
