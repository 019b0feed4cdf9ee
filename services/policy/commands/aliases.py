"""Key aliases are unique across all keys and all replicas: the alias has a control fact of its own.

`control.alias.<token>` says which key an alias is reserved for. It is published after its key's fact and in the same atomic
batch, so in every prefix of the stream a reservation's key is already there. A reservation whose key is gone, or no longer has
the alias, may be taken over: the takeover expects the reservation's last sequence, and of two at once the broker refuses one.
"""

from services.policy.commands import fields
from services.policy.commands.plan import Call, Change
from services.policy.directory import Directory
from shared import errors, subjects
from shared.errors import RefusedError
from shared.ids import KeyDigest


def check(alias: str) -> None:
    """No way out of a path: aliases become file and secret names."""
    if ".." in alias.replace("\\", "/").split("/") or alias != alias.strip():
        fields.refuse("key_alias", "is no valid name: Invalid key_alias")


def reserve(call: Call, alias: str, token: KeyDigest) -> Change:
    """Raises RefusedError when another key has it."""
    owner = call.directory.alias_owner(alias)
    if owner is not None and owner.token != token:
        message = f"Key with alias '{alias}' already exists. Unique key aliases across all keys are required."
        raise RefusedError(errors.bad_request(message, "key_alias"))
    return _change(call.directory, alias, token)


def release(directory: Directory, alias: str | None, token: KeyDigest) -> list[Change]:
    """Nothing, when the alias is no longer this key's."""
    if alias is None or directory.aliases.get(alias) != token:
        return []
    return [_change(directory, alias, None)]


def _change(directory: Directory, alias: str, token: KeyDigest | None) -> Change:
    before = directory.aliases.get(alias)
    return Change(
        "alias",
        alias,
        "deleted" if token is None else "created" if before is None else "updated",
        None if before is None else {"alias": alias, "token": before},
        None if token is None else {"alias": alias, "token": token},
        directory.expected_seq(subjects.control("alias", alias)),
    )
