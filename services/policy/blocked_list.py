"""The configuration's list of blocked customers, where it is a file: read again when it changes.

What changed is a control fact (`control.setting.blocked_user_list`: a digest and a count, not the
names), so every edge forgets what it was told of customers, and the audit log has it. Each replica
says so once it has read the file itself: an edge that forgot at the first one's word may have asked
one that hadn't yet. At start only a list that differs is announced.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from services.policy.blocked_users import BlockedUsers
from services.policy.directory import Directory
from services.policy.plan import Change, setting

log = structlog.get_logger()

NAME = "blocked_user_list"
EVERY_S = 2.0
FILE_BYTES_MAX = 64 * 1024 * 1024


def read(path: Path) -> frozenset[str]:
    """One id a line. Raises OSError, ValueError."""
    if path.stat().st_size > FILE_BYTES_MAX:
        raise ValueError(f"larger than {FILE_BYTES_MAX} bytes")
    return frozenset(filter(None, (line.strip() for line in path.read_text("utf-8").splitlines())))


def announced(directory: Directory, users: BlockedUsers, now_ms: int, *, again: bool) -> Change | None:
    """The fact that says which list counts now; None: it says so already, and it needn't be said
    again.
    """
    value = {"sha256": users.sha256(), "customers": len(users)}
    before = directory.settings.get(NAME)
    if not again and (before.value == value if before is not None else not users):
        return None
    return setting(directory, NAME, value, "file", now_ms)


async def watch(path: Path, users: BlockedUsers, announce: Callable[[bool], Awaitable[bool]]) -> None:
    """For ever. A file that can't be read leaves the list as it was: nobody is unblocked by a
    typing error.

    Args:
        announce: publishes that the list is another one (also where that was said before); False:
            not now, try again.
    """
    seen = _stamp(path)
    pending = False
    while True:
        await asyncio.sleep(EVERY_S)
        stamp = _stamp(path)
        if stamp != seen:
            try:
                ids = await asyncio.to_thread(read, path)
            except (OSError, ValueError) as error:
                log.error("blocked_user_list_not_readable", path=str(path), detail=str(error)[:200])
            else:
                pending = pending or ids != users.ids
                users.ids = ids
                log.info("blocked_user_list_read", customers=len(ids))
            seen = stamp
        if pending:
            pending = not await announce(True)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
