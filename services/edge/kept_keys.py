"""Management commands where virtual keys are stored in a secret manager: the manager has a key
before anybody can use it.

1. ask policy what the command would do, and whether it may (nothing happens yet);
2. write each new or renamed key, and read it back; what can't be written ends the command here;
3. give the command;
4. remove what stands under a former name, or, where policy refused in the end, put back what stood
   there.
"""

from collections.abc import Callable, Mapping

import msgspec
import structlog

from services.edge.grants import Grants
from shared import bus, errors, subjects
from shared.bus import BusClient, BusError
from shared.errors import RefusedError
from shared.grant import Denial
from shared.ids import digest_key
from shared.requests import AdminReply, AdminRequest, DecideReply, DecideRequest, KeyMove
from shared.routes import Route
from shared.secrets import Secret, SecretError
from shared.secrets.stored_keys import StoredKeys

log = structlog.get_logger()

NOT_REMOVED = "x-tollgate-secrets-not-removed"


class _Written(msgspec.Struct):
    name: str
    place: Mapping[str, str]
    value: Secret
    before: Secret | None
    """What stood there; None: nothing."""


class KeptKeys:
    def __init__(self, client: BusClient, stored: StoredKeys, grants: Grants, now_ms: Callable[[], int]) -> None:
        self._client = client
        self._now_ms = now_ms
        self._stored = stored
        self._grants = grants

    async def ask(self, question: AdminRequest, route: Route, plaintext: str | None, timeout_ms: int) -> AdminReply:
        """As `bus.ask`, for a command. Raises BusError, and RefusedError where a key can't be
        stored.
        """
        moves: list[KeyMove] = []
        if route.mints or route.name.startswith("/key/"):
            planned = await self._policy(question, "plan", timeout_ms)
            if planned.status >= 400:
                return planned
            moves = planned.moves
        written: list[_Written] = []
        try:
            for move in moves:
                found = await self._write(move, plaintext)
                if found is not None:
                    written.append(found)
        except SecretError as error:
            await self._undo(written)
            log.error("key_not_stored", route=route.name, reason=str(error))
            refusal = errors.bad_request(str(error), "key_alias") if error.code == "bad_name" else None
            raise RefusedError(refusal or errors.key_not_stored(str(error))) from None
        try:
            reply = await self._policy(question, "told", timeout_ms)
        except BusError:
            if not await self._happened(plaintext, timeout_ms):
                await self._undo(written)
            raise
        if reply.status >= 400:
            await self._undo(written)
            return reply
        left = await self._remove(reply.moves)
        return reply if not left else msgspec.structs.replace(reply, headers={**reply.headers, NOT_REMOVED: left})

    async def close(self) -> None:
        await self._stored.close()

    async def _policy(self, question: AdminRequest, how: str, timeout_ms: int) -> AdminReply:
        deadline_at_ms = self._now_ms() + timeout_ms  # what the manager took isn't the command's
        asked = msgspec.structs.replace(question, stored_keys=how, deadline_at_ms=deadline_at_ms)
        return await bus.ask(self._client, subjects.POLICY_ADMIN, asked, AdminReply, timeout_ms)

    async def _write(self, move: KeyMove, plaintext: str | None) -> _Written | None:
        """Raises SecretError. None: there is nothing to write, as the name stays or the manager
        never had the key.
        """
        if move.after is None:
            return None
        stored = self._stored
        name = stored.name(move.alias, move.after)
        if plaintext is not None and digest_key(plaintext) == move.after:
            value: Secret | None = Secret(plaintext)
        elif move.before is None or self._stays(move):
            return None
        else:
            value = await stored.get(stored.name(move.alias_before, move.before), move.place_before)
        if value is None:
            return None
        before = await stored.get(name, move.place)
        written = _Written(name, move.place, value, before)
        try:
            await stored.put(name, value, move.place)
        except SecretError:
            await self._undo([written])
            raise
        return written

    def _stays(self, move: KeyMove) -> bool:
        return move.alias == move.alias_before and move.place == move.place_before and move.after == move.before

    async def _undo(self, written: list[_Written]) -> None:
        """Where nobody else has written since."""
        for each in reversed(written):
            try:
                if await self._stored.get(each.name, each.place) != each.value:
                    continue
                if each.before is not None:
                    await self._stored.put(each.name, each.before, each.place)
                else:
                    await self._stored.remove(each.name, each.place)
            except SecretError as error:
                log.error("stored_key_not_put_back", name=each.name, reason=str(error))

    async def _remove(self, moves: list[KeyMove]) -> str:
        """What stands under former names, or of keys that are gone. Returns the names that couldn't
        be removed.
        """
        left = []
        for move in moves:
            if move.before is None:
                continue
            before = self._stored.name(move.alias_before, move.before)
            after = None if move.after is None else self._stored.name(move.alias, move.after)
            if before == after and move.place == move.place_before:
                continue
            try:
                await self._stored.remove(before, move.place_before)
            except SecretError as error:
                log.error("stored_key_not_removed", name=before, reason=str(error))
                left.append(before)
        return ", ".join(left)[:1000]

    async def _happened(self, plaintext: str | None, timeout_ms: int) -> bool:
        """Nobody confirmed the command: whether the key is there all the same. Where that isn't
        known either, it counts as done.
        """
        if plaintext is None:
            return True
        question = DecideRequest(digest_key(plaintext), "/models", min_control_seq=self._grants.seen_seq)
        try:
            reply = await bus.ask(self._client, subjects.POLICY_DECIDE, question, DecideReply, timeout_ms, tries=2)
        except BusError:
            return True
        decision = reply.decision
        return not (isinstance(decision, Denial) and decision.refusal.code == "unknown_key")
