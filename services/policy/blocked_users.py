"""The customers that the configuration blocks."""

import hashlib
from collections.abc import Collection, Iterator


class BlockedUsers(Collection[str]):
    """The ids; replaced whole, between two decisions."""

    def __init__(self, ids: Collection[str] = frozenset()) -> None:
        self.ids = frozenset(ids)

    def __contains__(self, user_id: object) -> bool:
        return user_id in self.ids

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.ids))

    def __len__(self) -> int:
        return len(self.ids)

    def sha256(self) -> str:
        return hashlib.sha256("\n".join(self).encode()).hexdigest()
