"""Credentials of providers that were added by API, for models to name
(`litellm_credential_name`).
"""

from typing import Any

import msgspec

from shared.entities import readers
from shared.entities.kind import EntityKind, column, who
from shared.entities.model import SealedText


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    credential_name: str
    display_name: str | None = None
    credential_values: dict[str, Any] = {}
    """Without the secrets: stands in for what an entry's `litellm_params` don't say."""
    sealed: dict[str, SealedText] = {}
    """The secrets, each its value as JSON, sealed for `credential/<credential_name>/<name>`."""
    credential_info: dict[str, Any] = {}
    created_at_ms: int = 0
    created_by: str | None = None
    updated_at_ms: int = 0
    updated_by: str | None = None
    extra: dict[str, Any] = {}


CREDENTIAL = EntityKind(
    "credential",
    Credential,
    "credential_name",
    "LiteLLM_CredentialsTable",
    Credential(credential_name=""),
    [
        column("display_name", readers.text),
        column("credential_values", readers.mapping),
        column("sealed", None),
        column("credential_info", readers.mapping),
        *who(),
    ],
)
