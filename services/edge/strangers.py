"""What people without a good key were refused: counted, so that asking costs the asker more than it
costs us.

The first refusal of its kind (address, error code, key) in a minute leaves its own fact at once, as
any refusal does. Those like it in the same minute are counted, and leave one fact together when the
minute is over: the first one's, with `refusals` in its metadata. So what strangers can write is
bounded by `KINDS_MAX` facts a minute, whatever they send. Past `FIRST_MAX` kinds a minute there is
no fact at once; past `KINDS_MAX` what comes is counted as of one address, `other`.

While nothing can be recorded, everything refused is only counted; the counts wait for better times,
and still are no more than `KINDS_MAX`.
"""

import asyncio
from collections.abc import Callable

import msgspec

from services.edge.group_commit import GroupCommit
from services.edge.http.budget import prefix
from shared.facts import Refused, encode_fact
from shared.ids import new_request_id

EVERY_S = 60.0
FIRST_MAX = 128
KINDS_MAX = 1024
OTHER = "other"

_Kind = tuple[str, str, str | None]
"""Address, error code, key digest."""


class _Counted:
    __slots__ = ("count", "fact")

    def __init__(self, fact: Refused) -> None:
        self.fact = fact
        """The first that was only counted."""
        self.count = 0


class Strangers:
    def __init__(self, recorder: GroupCommit, now_ms: Callable[[], int]) -> None:
        self._recorder = recorder
        self._now_ms = now_ms
        self._first: set[_Kind] = set()
        """Kinds whose fact was left in this minute."""
        self._counted: dict[_Kind, _Counted] = {}
        self._task: asyncio.Task[None] | None = None

    def keeps(self, fact: Refused) -> bool:
        """Whether this refusal is only counted here. False: its fact is to be recorded now, like
        any other.
        """
        healthy = self._recorder.healthy
        if healthy and fact.status != 401:
            return False
        kind = (prefix(fact.requester_ip), fact.error_code, fact.caller.key_sha256)
        if healthy and kind not in self._first and len(self._first) < FIRST_MAX:
            self._first.add(kind)
            self._wake()
            return False
        counted = self._counted.get(kind)
        if counted is None and len(self._counted) >= KINDS_MAX:
            fact = msgspec.structs.replace(
                fact, requester_ip=OTHER, caller=msgspec.structs.replace(fact.caller, key_sha256=None)
            )
            kind = (OTHER, fact.error_code, None)
            counted = self._counted.get(kind)
        if counted is None:
            counted = self._counted[kind] = _Counted(fact)
        counted.count += 1
        self._wake()
        return True

    def flush(self) -> None:
        """The minute is over, or the edge stops: what was counted becomes facts. While nothing can
        be recorded it stays.
        """
        self._first.clear()
        if not self._recorder.healthy:
            return
        counted, self._counted = self._counted, {}
        for each in counted.values():
            metadata = {"refusals": each.count, "until_ms": self._now_ms()}
            fact = msgspec.structs.replace(each.fact, id=new_request_id(), spend_logs_metadata=metadata)
            self._recorder.append(encode_fact(fact))

    def close(self) -> None:
        """The edge stops: nothing is counted after this."""
        if self._task is not None:
            self._task.cancel()
        self.flush()

    def _wake(self) -> None:
        """The clock runs only while there is something to forget or to tell."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._first or self._counted:
            await asyncio.sleep(EVERY_S)
            self.flush()
