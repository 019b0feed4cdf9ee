"""Key aliases are unique across all keys and all replicas: the alias has a control fact of its own.

`control.alias.<token>` says which key an alias is reserved for. It is published after its key's
fact and in the same atomic batch, so in every prefix of the stream a reservation's key is already
there. A reservation whose key is gone, or no longer has the alias, may be taken over: the takeover
expects the reservation's last sequence, and of two at once the broker refuses one.
"""

import re
import unicodedata

from services.policy.directory import Directory
from services.policy.plan import Call, Change, change
from shared import errors
from shared.entities import ALIAS, Alias
from shared.entities import readers as fields
from shared.errors import RefusedError
from shared.ids import KeyDigest


def check(call: Call, alias: str) -> None:
    """Of one that somebody has just chosen: no way out of a path (aliases become file and secret
    names), and as `key_alias_pattern` says.
    """
    pattern = call.catalog.new_keys.alias
    if pattern is not None and re.fullmatch(pattern, alias) is None:
        fields.refuse("key_alias", f"must match {pattern}")
    if ".." in alias.replace("\\", "/").split("/") or alias != alias.strip():
        fields.refuse("key_alias", "is no valid name: Invalid key_alias")
    if unicodedata.normalize("NFKC", alias) != alias:
        fields.refuse("key_alias", "has characters that Unicode holds to be others in disguise: write it in NFKC")
    if _mixes_scripts(alias):
        fields.refuse(
            "key_alias", "mixes letters of several scripts in one word, so that it could be taken for another name"
        )


_SCRIPTS = ("LATIN", "CYRILLIC", "GREEK")
"""Those with letters that look like each other's."""


def _mixes_scripts(alias: str) -> bool:
    if alias.isascii():
        return False
    words = re.findall(r"[^\W\d_]+", alias)
    return any(
        len({script for letter in word for script in _SCRIPTS if unicodedata.name(letter, "").startswith(script)}) > 1
        for word in words
    )


def reserve(call: Call, alias: str, token: KeyDigest, replaced: KeyDigest | None = None) -> Change:
    """Raises RefusedError when another key has it, unless that is the one which `token`
    replaces.
    """
    owner = call.directory.alias_owner(alias)
    if owner is not None and owner.token not in (token, replaced):
        message = f"Key with alias '{alias}' already exists. Unique key aliases across all keys are required."
        raise RefusedError(errors.bad_request(message, "key_alias"))
    before = call.directory.reservations.get(alias)
    action = "created" if before is None else "updated"
    return change(call.directory, ALIAS, action, before, Alias(alias, token))


def release(directory: Directory, alias: str | None, token: KeyDigest) -> list[Change]:
    """Nothing, when the alias is no longer this key's."""
    before = None if alias is None else directory.reservations.get(alias)
    if before is None or before.token != token:
        return []
    return [change(directory, ALIAS, "deleted", before, None)]
