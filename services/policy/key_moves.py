"""What a command means for keys that are stored in a secret manager, read off its changes. Pure."""

from collections.abc import Iterator
from typing import Any

import msgspec

from services.policy.directory import Directory
from services.policy.plan import Change
from shared.entities import Key
from shared.ids import KeyDigest
from shared.requests import KeyMove

PLACE = "secret_manager_settings"


def moves(directory: Directory, changes: list[Change]) -> list[KeyMove]:
    return list(_moves(directory, [change for change in changes if change.kind == "key"]))


def place(directory: Directory, team_id: str | None) -> dict[str, str]:
    """Where a team keeps its keys; empty: where everybody does."""
    team = None if team_id is None else directory.teams.get(team_id)
    given = None if team is None else team.metadata.get(PLACE)
    return {str(k): v for k, v in given.items() if isinstance(v, str)} if isinstance(given, dict) else {}


def _moves(directory: Directory, changes: list[Change]) -> Iterator[KeyMove]:
    followed: set[KeyDigest] = set()
    """Keys that another one takes the place of."""
    for change in changes:
        after = _key(change.after)
        if after is None or after.replaced_by is not None:
            continue
        before = _key(change.before)
        if (before is None or before.replaced_by is not None) and after.previous_tokens:
            before = directory.keys.get(after.previous_tokens[-1])
        if before is not None and before.token != after.token:
            followed.add(before.token)
        yield KeyMove(
            None if before is None else before.token,
            None if before is None else before.key_alias,
            after.token,
            after.key_alias,
            {} if before is None else place(directory, before.team_id),
            place(directory, after.team_id),
        )
    for change in changes:
        gone = _key(change.before)
        if change.after is None and gone is not None and gone.replaced_by is None and gone.token not in followed:
            yield KeyMove(gone.token, gone.key_alias, None, None, place(directory, gone.team_id))


def _key(tree: dict[str, Any] | None) -> Key | None:
    return None if tree is None else msgspec.convert(tree, Key)
