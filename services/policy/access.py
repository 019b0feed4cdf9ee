"""What the configuration says about who may reach what: routes, addresses, required parameters,
blocked customers. Pure.

Each part is read from `general_settings` and `litellm_settings` once. Entries of lists of routes
are exact paths, prefixes with a star, or one of LiteLLM's named lists; `/v1/x` and `/x` are one
route.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from shared import addresses, subjects
from shared import routes as table
from shared.admission.predicates import CONFIG
from shared.config import ConfigError
from shared.config.fields import convert
from shared.routes import Route

ENTRIES_MAX = 10_000


class Access(msgspec.Struct, frozen=True, kw_only=True):
    public: frozenset[str] = frozenset()
    """Names of routes that need no key, besides those that are public by themselves."""
    admin_only: frozenset[str] = frozenset()
    allowed: frozenset[str] | None = None
    """Names of routes that are there at all; None: every one. What is public or for admins by name
    is there too.
    """
    enforced_params: list[str] = []
    service_account_params: list[str] = []
    allowed_ips: list[str] | None = None
    reject_clientside_tags: bool = False
    no_llm: bool = False
    """DISABLE_LLM_API_ENDPOINTS."""
    no_admin: bool = False
    """DISABLE_ADMIN_ENDPOINTS."""
    by_api: frozenset[str] = frozenset()
    """Settings that somebody set while we run: they win over the file's."""

    def of(self, name: str) -> str:
        """Whose this setting is: a control subject, or the configuration."""
        return subjects.control("setting", name) if name in self.by_api else CONFIG


class InForce(msgspec.Struct):
    """What holds now. Replaced by stored_settings.py, between two awaits of everything else."""

    now: Access


AT_RUN_TIME = (
    "public_routes", "admin_only_routes", "allowed_routes", "enforced_params", "service_account_settings", "allowed_ips", "enforce_user_param",
    "reject_clientside_metadata_tags",
)  # fmt: skip
"""Settings of `general_settings` that may be set while we run, as `control.setting.<name>`."""


def read(general: Mapping[str, Any], environ: Mapping[str, str], by_api: Iterable[str] = ()) -> Access:
    """
    Args:
        general: the section, with what was set while we run in the place of what the file says.
    Raises ConfigError, with the place.
    """
    public, admin_only = (_covered(_names(general, name)) for name in ("public_routes", "admin_only_routes"))
    allowed = None
    if general.get("allowed_routes"):
        allowed = _covered(_names(general, "allowed_routes")) | public | admin_only
    service = general.get("service_account_settings") or {}
    if not isinstance(service, dict):
        raise ConfigError("general_settings.service_account_settings must be a mapping")
    return Access(
        public=public,
        admin_only=admin_only,
        allowed=allowed,
        enforced_params=[
            *(["user"] if _flag(general, "enforce_user_param") else []),
            *_names(general, "enforced_params"),
        ],
        service_account_params=_names(service, "enforced_params", "general_settings.service_account_settings"),
        allowed_ips=_addresses(general),
        reject_clientside_tags=_flag(general, "reject_clientside_metadata_tags"),
        no_llm=_is_on(environ, "DISABLE_LLM_API_ENDPOINTS"),
        no_admin=_is_on(environ, "DISABLE_ADMIN_ENDPOINTS"),
        by_api=frozenset(by_api),
    )


def covers(entry: str, route: Route, *, below: bool = False) -> bool:
    """Whether an entry of a list of routes means this one.

    Args:
        below: whether a path also means what is below it (`/chat` → `/chat/completions`), as in a
            key's `allowed_routes`.
    """
    group = table.group_name(entry)
    if group is not None:
        return group in route.groups
    if entry.endswith("*"):
        return any(path.startswith(entry[:-1]) for path in route.paths)
    stem = entry.rstrip("/") + "/"
    return any(path == entry or (below and len(stem) > 1 and path.startswith(stem)) for path in route.paths)


def _covered(entries: Iterable[str]) -> frozenset[str]:
    return frozenset(row.name for entry in entries for row in table.TABLE.rows if covers(entry, row))


LISTS = ("public_routes", "admin_only_routes", "allowed_routes")
"""Of routes."""


def unmatched(general: Mapping[str, Any]) -> list[str]:
    """Warnings: entries of the lists of routes that mean none of ours."""
    return [
        f"general_settings.{name}: {entry!r} is no route of ours"
        for name in LISTS
        for entry in _names(general, name)
        if table.group_name(entry) is None and not any(covers(entry, row) for row in table.TABLE.rows)
    ]


def _names(settings: Mapping[str, Any], name: str, section: str = "general_settings") -> list[str]:
    value = settings.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ConfigError(f"{section}.{name} must be a list of strings")
    if len(value) > ENTRIES_MAX:
        raise ConfigError(f"{section}.{name} has more than {ENTRIES_MAX} entries")
    return list(dict.fromkeys(value))


def _flag(general: Mapping[str, Any], name: str) -> bool:
    value = general.get(name)
    return value is not None and convert(value, bool, f"general_settings.{name}")


def _addresses(general: Mapping[str, Any]) -> list[str] | None:
    if general.get("allowed_ips") is None:
        return None
    found = _names(general, "allowed_ips")
    for entry in found:
        try:
            addresses.network(entry)
        except ValueError:
            raise ConfigError(
                f"general_settings.allowed_ips: {entry!r} is no IP address and no range like 10.0.0.0/8"
            ) from None
    return found


def _is_on(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").strip().lower() == "true"
