"""`general_settings.key_management_system` and `key_management_settings`."""

from typing import Any

import msgspec

from shared.settings import SettingsError

SYSTEMS = frozenset(
    {
        "hashicorp_vault",
        "azure_key_vault",
        "aws_secret_manager",
        "google_secret_manager",
        "google_kms",
        "aws_kms",
        "local",
    }
)

OWN_NAMES: dict[str, tuple[str, ...]] = {
    "hashicorp_vault": ("HCP_VAULT_",),
    "azure_key_vault": ("AZURE_",),
    "aws_secret_manager": ("AWS_",),
    "aws_kms": ("AWS_",),
    "google_secret_manager": ("GOOGLE_",),
    "google_kms": ("GOOGLE_",),
}
"""What a manager needs for its own login comes from the environment: it can't be asked for it."""


class KeyManagement(msgspec.Struct, frozen=True, kw_only=True):
    """Field names are LiteLLM's."""

    system: str = "local"
    """Which manager `os.environ/NAME` asks; `local`: none, the environment alone."""
    hosted_keys: list[str] | None = None
    """Only these names are asked of the manager; None: all."""
    access_mode: str = "read_only"
    """read_only, write_only (never read), read_and_write."""
    store_virtual_keys: bool = False
    """Write virtual keys that are made into the manager."""
    prefix_for_stored_virtual_keys: str = "litellm/"
    primary_secret_name: str | None = None
    """AWS: one secret that holds a JSON object of all names."""
    description: str | None = None
    tags: dict[str, str] | None = None
    kms_key_id: str | None = None
    aws_region_name: str | None = None
    aws_role_name: str | None = None
    aws_session_name: str | None = None
    aws_external_id: str | None = None
    aws_profile_name: str | None = None
    aws_web_identity_token: str | None = None
    aws_sts_endpoint: str | None = None
    replica_regions: list[str] | None = None

    @property
    def reads(self) -> bool:
        return self.system != "local" and self.access_mode != "write_only"

    def hosts(self, name: str) -> bool:
        """Whether this name is asked of the manager."""
        own = name.startswith(OWN_NAMES.get(self.system, ()))
        return self.reads and not own and (self.hosted_keys is None or name in self.hosted_keys)

    @classmethod
    def of(cls, general_settings: dict[str, Any]) -> "KeyManagement":
        """Raises SettingsError, naming what is wrong."""
        system = general_settings.get("key_management_system")
        if system is None and general_settings.get("use_azure_key_vault") is True:
            system = "azure_key_vault"
        if system is None and general_settings.get("use_google_kms") is True:
            system = "google_kms"
        if system is not None and system not in SYSTEMS:
            known = ", ".join(sorted(SYSTEMS))
            raise SettingsError(f"general_settings.key_management_system: {str(system)[:40]!r} is none of {known}")
        given = general_settings.get("key_management_settings") or {}
        if not isinstance(given, dict):
            raise SettingsError("general_settings.key_management_settings must be a mapping")
        try:
            found = msgspec.convert({**given, "system": system or "local"}, cls, strict=False)
        except msgspec.ValidationError as error:
            raise SettingsError(f"general_settings.key_management_settings: {error}") from None
        if found.access_mode not in ("read_only", "write_only", "read_and_write"):
            raise SettingsError(
                "general_settings.key_management_settings.access_mode must be read_only, write_only or read_and_write"
            )
        return found
