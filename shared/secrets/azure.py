"""Azure Key Vault, by Microsoft's own library. `AZURE_KEY_VAULT_URI`; login as
DefaultAzureCredential finds it.
"""

from collections.abc import Mapping
from typing import Any

from shared.secrets.base import Manager, SecretError
from shared.secrets.settings import KeyManagement
from shared.settings import SettingsError

NAME = "azure_key_vault"


class AzureVault:
    name = NAME

    def __init__(self, address: str, credential: Any = None, **options: Any) -> None:
        """`credential`, `options`: for the client; DefaultAzureCredential and nothing but in
        tests.
        """
        self._address = address
        self._credential = credential
        self._options = options
        self._client: Any = None

    async def read(self, name: str) -> str | None:
        found = await self._call("get_secret", name)
        return None if found is None else found.value

    async def write(self, name: str, value: str) -> None:
        await self._call("set_secret", name, value)

    async def delete(self, name: str) -> None:
        await self._call("delete_secret", name)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            await self._credential.close()

    async def _call(self, operation: str, name: str, *arguments: str) -> Any:
        import azure.core.exceptions as failures  # noqa: PLC0415 - heavy, and only where Azure is used

        try:
            return await getattr(self._connected(), operation)(_vault_name(name), *arguments)
        except failures.ResourceNotFoundError:
            return None
        except failures.ClientAuthenticationError:
            raise SecretError("denied", NAME, name) from None
        except failures.HttpResponseError as error:
            kind = "denied" if error.status_code in (401, 403) else "unreachable"
            raise SecretError(kind, NAME, name, f"status {error.status_code}") from None
        except failures.AzureError as error:
            raise SecretError("unreachable", NAME, name, type(error).__name__) from None
        except ValueError:
            raise SecretError("junk", NAME, name) from None

    def _connected(self) -> Any:
        if self._client is None:
            from azure.identity.aio import DefaultAzureCredential  # noqa: PLC0415
            from azure.keyvault.secrets.aio import SecretClient  # noqa: PLC0415

            if self._credential is None:
                self._credential = DefaultAzureCredential()
            options = {"retry_total": 1, "connection_timeout": 3, "read_timeout": 4, **self._options}
            self._client = SecretClient(self._address, self._credential, **options)
        return self._client


def _vault_name(name: str) -> str:
    """Key Vault's names have letters, digits and dashes: an environment variable's underscores
    become dashes.
    """
    found = name.replace("_", "-")
    if not found or len(found) > 127 or not all(c.isascii() and (c.isalnum() or c == "-") for c in found):
        raise SecretError("bad_name", NAME, name)
    return found


def make(environ: Mapping[str, str], settings: KeyManagement) -> Manager:
    address = environ.get("AZURE_KEY_VAULT_URI") or ""
    if not address.startswith("https://"):
        raise SettingsError("azure_key_vault: AZURE_KEY_VAULT_URI must be an https address")
    return AzureVault(address)
