"""`general_settings.custom_auth_settings`: how the operator's own function is asked who calls."""

from typing import Annotated, Literal

from msgspec import Struct

from shared.config.fields import By

TIMEOUT_S = 5.0


class CustomAuthSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    mode: Annotated[Literal["on", "off", "auto"] | bool, By("config")] = "on"
    """on: the function alone decides; auto: what it refuses is looked at as a virtual key or a
    token; off: it isn't asked. YAML reads a bare `on` as true, and `off` as false."""
    timeout: Annotated[float, By("edge")] = TIMEOUT_S
    """Ours: seconds it may take; then the caller gets 503."""

    @property
    def asked(self) -> bool:
        return self.mode not in ("off", False)
