"""How many calls a deployment may have at once (`max_parallel_requests`), counted on this edge.
Whoever comes when it is full waits in a line of its own, first come first served, inside the call's
deadline.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from shared.grant import Candidate
from shared.ids import DeploymentId

LINE_MAX: Final = 1_000
"""Calls that wait for one deployment; more are turned away at once."""


class Place:
    """One call's, or its stand in the line."""

    __slots__ = ("deployment", "limit", "turn")

    def __init__(self, deployment: DeploymentId, limit: int, turn: asyncio.Future[None] | None) -> None:
        self.deployment = deployment
        self.limit = limit
        """May be another at another call: the configuration was read again."""
        self.turn = turn
        """None: it has the place."""


class _Room:
    __slots__ = ("line", "running")

    def __init__(self) -> None:
        self.running = 0
        self.line: deque[asyncio.Future[None]] = deque()


class Rooms:
    """As many as the configuration has deployments with a limit. Use it in one event loop. `give`
    ends whatever place there is.
    """

    def __init__(self) -> None:
        self._rooms: dict[DeploymentId, _Room] = {}

    def load(self, deployment: DeploymentId, limit: int) -> float:
        """Calls that run or wait, a place."""
        room = self._rooms.get(deployment)
        return 0.0 if room is None else (room.running + len(room.line)) / limit

    def take(self, deployment: DeploymentId, limit: int) -> Place | None:
        """A place, or one in the line; None: that is full too."""
        room = self._rooms.get(deployment)
        if room is None:
            room = self._rooms[deployment] = _Room()
        if room.running < limit and not room.line:
            room.running += 1
            return Place(deployment, limit, None)
        if len(room.line) >= LINE_MAX:
            return None
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        room.line.append(turn)
        return Place(deployment, limit, turn)

    async def wait(self, place: Place, within_s: float) -> bool:
        """Whether its turn came."""
        if place.turn is None:
            return True
        try:
            async with asyncio.timeout(within_s):
                await place.turn
        except TimeoutError:
            return False
        return True

    def give(self, place: Place) -> None:
        """The place goes straight to the first in the line; who waits leaves it."""
        room, turn = self._rooms.get(place.deployment), place.turn
        if room is None:  # it was cancelled in line, and passed over by the last one that ran, in the same tick
            return
        if turn is not None and (turn.cancelled() or not turn.done()):
            if turn in room.line:
                room.line.remove(turn)
        else:
            room.running -= 1
        while room.line and room.running < place.limit:
            following = room.line.popleft()
            if not following.done():
                room.running += 1
                following.set_result(None)
        if not room.running and not room.line:
            del self._rooms[place.deployment]


def roomiest(
    rooms: Rooms,
    candidates: Sequence[Candidate],
    position: int,
    limit_of: Callable[[DeploymentId], int | None],
    is_resting: Callable[[DeploymentId], bool],
) -> int:
    """Whoever has the most room, from this position on: of those with room the first, as they are
    in order.
    """
    best, least = position, float("inf")
    for at in range(position, len(candidates)):
        deployment = candidates[at].deployment_id
        if at != position and is_resting(deployment):
            continue
        limit = limit_of(deployment)
        load = 0.0 if limit is None else rooms.load(deployment, limit)
        if load < least and (load >= 1.0 or least >= 1.0):
            best, least = at, load
    return best
