"""The broker's configuration, made from the table of subjects: an account and a user a service, and
the doors between accounts. Pure.

For the embedded broker, and for one of an operator's own (`deploy/`): the same tree, as NATS reads
it.
"""

from collections.abc import Mapping
from typing import Any

from shared.subjects import CONTROL_STREAM, DOORS, PERMISSIONS, TRAFFIC_STREAM, home

OPERATORS = {"operator": "ledger", "operator-control": "policy"}
"""Users for an operator's tools, and the service in whose account they may do everything:
TRAFFIC's, and CONTROL's.
"""
USERS = (*OPERATORS, *PERMISSIONS)
STREAM_OWNERS = {CONTROL_STREAM: "policy", TRAFFIC_STREAM: "ledger"}


def account(service: str) -> str:
    """The name of the account that a service's user is in."""
    return home(service).upper()


def accounts(passwords: Mapping[str, str]) -> dict[str, Any]:
    """NATS's `accounts` block.

    Args:
        passwords: of every name in USERS; a user whose password is missing isn't made.
    """
    return {account(service): _account(service, passwords) for service in PERMISSIONS if home(service) == service}


def _account(owner: str, passwords: Mapping[str, str]) -> dict[str, Any]:
    users: list[dict[str, Any]] = [
        {"user": name, "password": passwords[name]}
        for name, of in OPERATORS.items()
        if of == owner and name in passwords
    ]
    jetstream = False
    for service, permissions in PERMISSIONS.items():
        if home(service) == owner:
            jetstream = jetstream or permissions.jetstream
            if service in passwords:
                allowed = {"publish": {"allow": permissions.publish}, "subscribe": {"allow": permissions.subscribe}}
                users.append({"user": service, "password": passwords[service], "permissions": allowed})
    tree: dict[str, Any] = {"users": users, "exports": _exports(owner), "imports": _imports(owner)}
    if jetstream:
        tree["jetstream"] = "enabled"
    return tree


def _exports(owner: str) -> list[dict[str, Any]]:
    exports = []
    for door in DOORS:
        others = sorted({account(user) for user in door.users} - {account(owner)})
        if home(door.owner) == owner and others:
            export: dict[str, Any] = {"stream" if door.feed else "service": door.subject, "accounts": others}
            if door.many:
                export["response_type"] = "stream"
            exports.append(export)
    return exports


def _imports(owner: str) -> list[dict[str, Any]]:
    imports = []
    for door in DOORS:
        if home(door.owner) != owner and owner in {home(user) for user in door.users}:
            source = {"account": account(door.owner), "subject": door.subject}
            imported: dict[str, Any] = {"stream" if door.feed else "service": source}
            if door.name:
                imported["to"] = door.name
            imports.append(imported)
    return imports
