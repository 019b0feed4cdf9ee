"""The forms in which config.yaml refers to a secret. Pure.

`os.environ/NAME` is LiteLLM's: the manager that `key_management_system` names is asked for NAME
first, then the environment. The others name their manager: `vault/NAME`, `aws_secret/NAME`,
`azure_kv/NAME`, `gcp_secret/NAME`, `file/PATH`, `aws_kms/CIPHERTEXT`, `oidc/PROVIDER/AUDIENCE`.
"""

import msgspec

ENVIRONMENT = "os.environ"

MANAGER_OF_PREFIX = {
    ENVIRONMENT: "",
    "vault": "hashicorp_vault",
    "aws_secret": "aws_secret_manager",
    "azure_kv": "azure_key_vault",
    "gcp_secret": "google_secret_manager",
    "aws_kms": "aws_kms",
    "file": "file",
    "oidc": "oidc",
}
"""Prefix → the manager's name in `managers.TABLE`; "": the one that `key_management_system` names,
then the environment.
"""


class Reference(msgspec.Struct, frozen=True):
    manager: str
    """"" for `os.environ/`."""
    name: str


def parse(text: str) -> Reference | None:
    """None where the text is no reference but a value."""
    prefix, slash, name = text.partition("/")
    if not slash or not name:
        return None
    manager = MANAGER_OF_PREFIX.get(prefix)
    return None if manager is None else Reference(manager, name)
