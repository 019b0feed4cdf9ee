"""Credentials in what is about to be published are sealed here, between a command and its facts:
CONTROL never has one in the clear.

`before` is sealed too: a fact of the time when nothing was sealed isn't repeated as it was.
"""

from typing import Any

import msgspec

from services.policy.plan import Change
from shared import errors, sealing
from shared.entities import callbacks
from shared.errors import RefusedError
from shared.sealing import Keyring

Secrets = dict[tuple[str, str], str]


def changes(planned: list[Change], keyring: Keyring | None) -> list[Change]:
    """Raises RefusedError: a mask that stands for nothing, or a secret that can't be sealed
    here.
    """
    before: Secrets = {}
    for change in planned:
        before.update(_secrets(change.before))
    if not before and not any(_secrets(change.after) for change in planned):
        return planned
    return [_sealed(change, before, keyring) for change in planned]


def _secrets(entity: dict[str, Any] | None) -> Secrets:
    return callbacks.secrets(entity.get("metadata")) if entity else {}


def _sealed(change: Change, elsewhere: Secrets, keyring: Keyring | None) -> Change:
    """`elsewhere`: of all entities of the plan, as a key that is rotated has its secrets from
    another.
    """
    old = {**elsewhere, **_secrets(change.before)}
    return msgspec.structs.replace(
        change, before=_entity(change.before, old, keyring), after=_entity(change.after, old, keyring)
    )


def _entity(entity: dict[str, Any] | None, old: Secrets, keyring: Keyring | None) -> Any:
    if entity is None or not isinstance(entity.get("metadata"), dict):
        return entity

    def seal(name: str, variable: str, value: str) -> str:
        if callbacks.is_mask(value):
            kept = old.get((name, variable))
            if kept is None or callbacks.is_mask(kept):
                text = f"{variable} is a mask, and there is no value that it could stand for"
                raise RefusedError(errors.bad_request(text, variable))
            value = kept
        if sealing.sealed_of(value) is not None:
            return value
        if keyring is None:
            if value in old.values():
                return value  # of the time before sealing, and there is still no key for it
            raise RefusedError(errors.sealing_unavailable())
        return sealing.text_of(keyring.seal(value, callbacks.place(name, variable)))

    return {**entity, "metadata": callbacks.rewritten(entity["metadata"], seal)}
