"""The one table of managers. A manager's libraries are heavy, so its module is imported when it is
first used.
"""

from collections.abc import Mapping
from importlib import import_module

from shared.secrets.base import Manager, SecretError
from shared.secrets.settings import KeyManagement

TABLE = {
    "hashicorp_vault": "shared.secrets.vault",
    "azure_key_vault": "shared.secrets.azure",
    "aws_secret_manager": "shared.secrets.aws",
    "aws_kms": "shared.secrets.aws_kms",
    "google_secret_manager": "shared.secrets.google",
    "google_kms": "shared.secrets.google_kms",
    "file": "shared.secrets.file",
    "oidc": "shared.secrets.oidc",
}
"""Name → module; each has `make(environ, settings) -> Manager`."""


def make(name: str, environ: Mapping[str, str], settings: KeyManagement) -> Manager:
    """Raises SecretError where the manager is unknown, and SettingsError where its own settings are
    missing.
    """
    module = TABLE.get(name)
    if module is None:
        raise SecretError("not_supported", name)
    made: Manager = import_module(module).make(environ, settings)
    return made
