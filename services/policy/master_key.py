"""The master key, which may change while policy runs (renewal.py). The one before stays good for a
while, for clients that don't know yet.
"""

import secrets

from shared.ids import KeyDigest, digest_key
from shared.secrets.value import Secret


class MasterKey:
    """
    Args:
        key: None: the gateway is open.
    """

    def __init__(self, key: Secret | None = None) -> None:
        self.digest = _digest(key)
        self._before: dict[KeyDigest, int] = {}
        """Digest of an earlier one → the instant at which it ends, Unix milliseconds."""
        self.changes = 0

    def __bool__(self) -> bool:
        return self.digest is not None

    def replace(self, key: Secret, now_ms: int, grace_ms: int) -> bool:
        """Another key from now on; whether it is another one."""
        digest = _digest(key)
        if digest == self.digest or self.digest is None:
            return False
        self._before = {each: ends for each, ends in self._before.items() if ends > now_ms and each != digest}
        self._before[self.digest] = now_ms + grace_ms
        self.digest = digest
        self.changes += 1
        return True

    def is_it(self, digest: KeyDigest, now_ms: int) -> bool:
        return _same(digest, self.digest) or (self.ends_at_ms(digest) or 0) > now_ms

    def ends_at_ms(self, digest: KeyDigest) -> int | None:
        """Of an earlier one; None: it is no earlier one."""
        return next((ends for each, ends in self._before.items() if _same(digest, each)), None)


def _digest(key: Secret | None) -> KeyDigest | None:
    return None if key is None else digest_key(key.reveal())


def _same(one: KeyDigest, other: KeyDigest | None) -> bool:
    return other is not None and secrets.compare_digest(one.encode(), other.encode())
