"""HashiCorp Vault and OpenBao: the key-value engine, version 2, by hvac.

LiteLLM's variable names (`HCP_VAULT_*`). Login by AppRole, else by a TLS certificate, else by the
pod's service account (`HCP_VAULT_KUBERNETES_ROLE`), else by token. A secret's value is the
field `key` of its data (`HCP_VAULT_DATA_KEY`).
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hvac
import hvac.exceptions
import requests
import requests.adapters
import structlog

from shared.secrets.base import Manager, SecretError, check_name
from shared.secrets.settings import KeyManagement
from shared.settings import SettingsError

log = structlog.get_logger()

NAME = "hashicorp_vault"
TIMEOUT_S = 4
ASKED_AT_ONCE_MAX = 32
"""The event loop's own threads are fewer on a small machine, and everybody's."""
SERVICE_ACCOUNT_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - a path
RENEW_AT = 0.5
"""Share of a lease's life after which a token is renewed by the next read."""


class Vault:
    name = NAME

    def __init__(self, environ: Mapping[str, str], now: Callable[[], float] = time.monotonic) -> None:
        self._environ = environ
        self._now = now
        self._address = environ.get("HCP_VAULT_ADDR") or "http://127.0.0.1:8200"
        self._mount = (environ.get("HCP_VAULT_MOUNT_NAME") or "secret").strip("/")
        self._field = environ.get("HCP_VAULT_DATA_KEY") or "key"
        self._prefix = (environ.get("HCP_VAULT_PATH_PREFIX") or "").strip("/")
        self._token = environ.get("HCP_VAULT_TOKEN") or ""
        self._role_id = environ.get("HCP_VAULT_APPROLE_ROLE_ID") or ""
        self._secret_id = environ.get("HCP_VAULT_APPROLE_SECRET_ID") or ""
        self._role = environ.get("HCP_VAULT_KUBERNETES_ROLE") or ""
        self._certificate = environ.get("HCP_VAULT_CLIENT_CERT") or ""
        self._certificate_key = environ.get("HCP_VAULT_CLIENT_KEY") or ""
        certificate = self._certificate and self._certificate_key
        if not (self._token or (self._role_id and self._secret_id) or certificate or self._role):
            raise SettingsError(
                "hashicorp_vault: set HCP_VAULT_APPROLE_ROLE_ID and HCP_VAULT_APPROLE_SECRET_ID, HCP_VAULT_CLIENT_CERT and"
                " HCP_VAULT_CLIENT_KEY, HCP_VAULT_KUBERNETES_ROLE, or HCP_VAULT_TOKEN"
            )
        self._client: hvac.Client | None = None
        self._ends_at = self._renew_at = 0.0
        self._lock = asyncio.Lock()
        self._threads = ThreadPoolExecutor(ASKED_AT_ONCE_MAX, "vault")

    async def read(self, name: str) -> str | None:
        path = self._path(name)

        def ask(client: hvac.Client) -> str | None:
            try:
                answer = client.secrets.kv.v2.read_secret_version(
                    path, mount_point=self._mount, raise_on_deleted_version=True
                )
            except hvac.exceptions.InvalidPath:
                return None
            data = answer["data"]["data"]
            value = data.get(self._field) if isinstance(data, dict) else None
            if value is None and isinstance(data, dict) and len(data) == 1:
                value = next(iter(data.values()))  # people who keep one field seldom call it `key`
            if value is not None and not isinstance(value, str):
                raise SecretError("junk", NAME, name, f"the field `{self._field}` is no string")
            return value

        value: str | None = await self._with_client(ask, name)
        return value

    async def write(self, name: str, value: str) -> None:
        path = self._path(name)

        def put(client: hvac.Client) -> None:
            client.secrets.kv.v2.create_or_update_secret(path, {self._field: value}, mount_point=self._mount)

        await self._with_client(put, name)

    async def delete(self, name: str) -> None:
        path = self._path(name)

        def remove(client: hvac.Client) -> None:
            try:
                client.secrets.kv.v2.delete_metadata_and_all_versions(path, mount_point=self._mount)
            except hvac.exceptions.InvalidPath:
                pass

        await self._with_client(remove, name)

    async def close(self) -> None:
        if self._client is not None:
            self._client.adapter.close()
        self._threads.shutdown(wait=False)

    @property
    def _token_alone(self) -> bool:
        """Nothing to log in with again."""
        return bool(self._token) and not (self._role_id or self._certificate or self._role)

    def _path(self, name: str) -> str:
        check_name(NAME, name)
        return f"{self._prefix}/{name}" if self._prefix else name

    async def _with_client(self, work: Callable[[hvac.Client], Any], name: str) -> Any:
        """Runs in a thread: hvac blocks. A token that ended in between is renewed once."""
        for attempt in (1, 2):
            client = await self._logged_in(name)
            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, work, client)
            except (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized):
                self._ends_at = 0.0
                if attempt == 2 or self._token_alone:
                    raise SecretError("denied", NAME, name) from None
            except hvac.exceptions.VaultDown:
                raise SecretError("unreachable", NAME, name, "sealed or in maintenance") from None
            except (hvac.exceptions.VaultError, KeyError, TypeError, ValueError) as error:
                raise SecretError("junk", NAME, name, type(error).__name__) from None
            except requests.exceptions.Timeout:
                raise SecretError("timeout", NAME, name) from None
            except requests.exceptions.RequestException as error:
                raise SecretError("unreachable", NAME, name, type(error).__name__) from None
        raise AssertionError("unreachable")

    async def _logged_in(self, name: str) -> hvac.Client:
        async with self._lock:
            now = self._now()
            if self._client is not None and now < self._ends_at:
                if now >= self._renew_at:
                    await self._renew(self._client)
                return self._client
            try:
                self._client, lease_s = await asyncio.to_thread(self._log_in)
            except (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized, hvac.exceptions.InvalidRequest):
                raise SecretError("denied", NAME, name, "the login was refused") from None
            except hvac.exceptions.VaultError as error:
                raise SecretError("unreachable", NAME, name, type(error).__name__) from None
            except requests.exceptions.Timeout:
                raise SecretError("timeout", NAME, name) from None
            except (requests.exceptions.RequestException, OSError) as error:
                raise SecretError("unreachable", NAME, name, type(error).__name__) from None
            self._keep_for(lease_s)
            return self._client

    def _log_in(self) -> tuple[hvac.Client, float]:
        """(client, seconds its token lives; 0: for ever)."""
        environ = self._environ
        certificate = (self._certificate, self._certificate_key) if self._certificate else None
        ca = environ.get("HCP_VAULT_CACERT") or environ.get("SSL_CERT_FILE")
        session = requests.Session()
        for scheme in ("https://", "http://"):
            session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=ASKED_AT_ONCE_MAX))
        session.verify = ca or True
        session.cert = certificate
        client = hvac.Client(
            url=self._address,
            session=session,
            namespace=environ.get("HCP_VAULT_LOGIN_NAMESPACE") or environ.get("HCP_VAULT_NAMESPACE") or None,
            timeout=TIMEOUT_S,
            allow_redirects=False,
        )
        lease_s = 0.0
        if self._role_id and self._secret_id:
            mount = environ.get("HCP_VAULT_APPROLE_MOUNT_PATH") or "approle"
            answer = client.auth.approle.login(self._role_id, self._secret_id, mount_point=mount)
            lease_s = float(answer["auth"]["lease_duration"])
        elif certificate is not None:
            answer = client.auth.cert.login(name=environ.get("HCP_VAULT_CERT_ROLE") or "")
            lease_s = float(answer["auth"]["lease_duration"])
        elif self._role:
            mount = environ.get("HCP_VAULT_KUBERNETES_MOUNT_PATH") or "kubernetes"
            account = Path(environ.get("HCP_VAULT_KUBERNETES_TOKEN_PATH") or SERVICE_ACCOUNT_TOKEN).read_text().strip()
            answer = client.auth.kubernetes.login(self._role, account, mount_point=mount)
            lease_s = float(answer["auth"]["lease_duration"])
        else:
            client.token = self._token
        space = environ.get("HCP_VAULT_SECRET_NAMESPACE") or environ.get("HCP_VAULT_NAMESPACE")
        client.adapter.namespace = space or None
        return client, lease_s

    async def _renew(self, client: hvac.Client) -> None:
        """A renewal that fails is no failure yet: the token lives on, and a new login follows at
        its end.
        """
        self._renew_at = self._now() + 5
        try:
            answer = await asyncio.to_thread(client.auth.token.renew_self)
            self._keep_for(float(answer["auth"]["lease_duration"]))
        except (
            hvac.exceptions.VaultError,
            requests.exceptions.RequestException,
            KeyError,
            TypeError,
            ValueError,
        ) as error:
            log.warning("vault_token_not_renewed", error=type(error).__name__)

    def _keep_for(self, lease_s: float) -> None:
        now = self._now()
        self._ends_at = now + lease_s if lease_s else float("inf")
        self._renew_at = now + lease_s * RENEW_AT if lease_s else float("inf")


def make(environ: Mapping[str, str], settings: KeyManagement) -> Manager:
    return Vault(environ)
