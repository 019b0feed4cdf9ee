"""Who may serve without a strong master key: nobody by accident.

Without one everybody may call, and with a key from every tutorial everybody is the administrator.
Both are taken only where the operator says so; a weak key also where only this machine can reach
the gateway.
"""

import ipaddress
from collections.abc import Mapping
from typing import Any

from shared.config.errors import ConfigError
from shared.secrets.value import Secret

STRONG_CHARACTERS_MIN = 8
"""`sk-1234`, the key of every example, has seven."""

SETTING = "allow_open_gateway"
ALIAS = "dangerously_permit_weak_or_unset_master_key"
"""LiteLLM's name for it."""
VARIABLES = ("TOLLGATE_ALLOW_OPEN_GATEWAY", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY")
_SAY_SO = f"general_settings.{SETTING}: true"


def allowed(general: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Whether `general_settings` or the environment says so. Raises ConfigError for a value that is
    neither yes nor no.
    """
    for name in (SETTING, ALIAS):
        value = general.get(name)
        if not (value is None or isinstance(value, bool)):
            raise ConfigError(f"general_settings.{name} must be true or false")
        if value:
            return True
    return any(_yes(name, environ.get(name, "")) for name in VARIABLES)


def _yes(name: str, value: str) -> bool:
    word = value.strip().lower()
    if word in ("", "0", "false", "no"):
        return False
    if word in ("1", "true", "yes"):
        return True
    raise ConfigError(f"{name} must be true or false")


def refuse(master_key: Secret | None, host: str, *, allow: bool) -> None:
    """Raises ConfigError where a gateway on `host` would be everybody's.

    Args:
        host: where the edge listens.
        allow: the operator said that it shall be.
    """
    if allow:
        return
    if not master_key:
        raise ConfigError(
            "no master key: set general_settings.master_key or LITELLM_MASTER_KEY. "
            f"A gateway that everybody may use needs {_SAY_SO}"
        )
    if is_weak(master_key) and not is_loopback(host):
        raise ConfigError(
            f"the master key is weak (sk-1234, or under {STRONG_CHARACTERS_MIN} characters), and the gateway listens on {host}, "
            f"not only on this machine: choose a long random key, listen on 127.0.0.1 (TOLLGATE_EDGE_HOST), or set {_SAY_SO}"
        )


def is_weak(master_key: Secret) -> bool:
    return len(master_key.reveal()) < STRONG_CHARACTERS_MIN


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`. A name other than localhost may be
    anything.
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def from_environ(environ: Mapping[str, str]) -> Secret | None:
    """LiteLLM's usual way to give the master key."""
    value = environ.get("LITELLM_MASTER_KEY")
    return Secret(value) if value else None
