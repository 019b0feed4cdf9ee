"""The broker's configuration, made from the table of subjects: an account and a user a service, and the doors between accounts. Pure.

For the embedded broker, and for one of an operator's own (`deploy/`): the same tree, as NATS reads it.
"""

from collections.abc import Mapping
from typing import Any

from shared.subjects import CONTROL_STREAM, DOORS, PERMISSIONS, TRAFFIC_STREAM, Permissions

OPERATORS = {"operator": "ledger", "operator-control": "policy"}
"""Users for an operator's tools, and the service in whose account they may do everything: TRAFFIC's, and CONTROL's."""
USERS = (*OPERATORS, *PERMISSIONS)
STREAM_OWNERS = {CONTROL_STREAM: "policy", TRAFFIC_STREAM: "ledger"}


def account(service: str) -> str:
    return service.upper()


def accounts(passwords: Mapping[str, str]) -> dict[str, Any]:
    """NATS's `accounts` block.

    Args:
        passwords: of every name in USERS; a user whose password is missing isn't made.
    """
    return {account(service): _account(service, permissions, passwords) for service, permissions in PERMISSIONS.items()}


def _account(service: str, permissions: Permissions, passwords: Mapping[str, str]) -> dict[str, Any]:
    users: list[dict[str, Any]] = [
        {"user": name, "password": passwords[name]}
        for name, of in OPERATORS.items()
        if of == service and name in passwords
    ]
    if service in passwords:
        allowed = {"publish": {"allow": permissions.publish}, "subscribe": {"allow": permissions.subscribe}}
        users.append({"user": service, "password": passwords[service], "permissions": allowed})
    tree: dict[str, Any] = {"users": users, "exports": _exports(service), "imports": _imports(service)}
    if permissions.jetstream:
        tree["jetstream"] = "enabled"
    return tree


def _exports(service: str) -> list[dict[str, Any]]:
    exports = []
    for door in DOORS:
        if door.owner == service:
            export: dict[str, Any] = {
                "stream" if door.feed else "service": door.subject,
                "accounts": [account(user) for user in door.users],
            }
            if door.many:
                export["response_type"] = "stream"
            exports.append(export)
    return exports


def _imports(service: str) -> list[dict[str, Any]]:
    imports = []
    for door in DOORS:
        if service in door.users:
            source = {"account": account(door.owner), "subject": door.subject}
            imported: dict[str, Any] = {"stream" if door.feed else "service": source}
            if door.name:
                imported["to"] = door.name
            imports.append(imported)
    return imports
