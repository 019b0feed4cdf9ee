"""What single sign-on needs of the process: its settings, a way out, who waits, and the key that
seals logins on their way.
"""

import hashlib
import hmac

import msgspec

from services.edge.sso.settings import SsoSettings
from services.edge.sso.throttle import Guesses, Throttle
from shared.outbound import Outbound
from shared.secrets.value import Secret


class Sso(msgspec.Struct, kw_only=True):
    settings: SsoSettings = msgspec.field(default_factory=SsoSettings)
    outbound: Outbound | None = None
    guesses: Guesses = msgspec.field(default_factory=Guesses)
    digesting: int = 0
    """Users' passwords that are being tried, or wait for it."""
    username: str = "admin"
    """`UI_USERNAME`."""
    password: Secret | None = None
    """`UI_PASSWORD`; None: the master key is the password."""
    master_key: Secret | None = None

    master_key_before: Secret | None = None
    """Another edge may still seal with it, and logins are on their way that were sealed with it."""

    def sealing_key(self) -> bytes | None:
        """32 bytes, the same on every edge of one gateway; None without a master key: then nobody
        can come in at all.
        """
        return _sealing_key(self.master_key)

    def sealing_keys(self) -> list[bytes]:
        """Those that a login on its way may be sealed with."""
        found = (_sealing_key(key) for key in (self.master_key, self.master_key_before))
        return [key for key in found if key is not None]

    def take(
        self,
        *,
        settings: SsoSettings,
        username: str,
        password: Secret | None,
        master_key: Secret | None,
        throttle: Throttle,
    ) -> None:
        """From now on."""
        self.guesses.use(throttle)
        if master_key != self.master_key:
            self.master_key_before = self.master_key
        self.settings, self.master_key = settings, master_key
        self.username, self.password = username, password


def _sealing_key(master_key: Secret | None) -> bytes | None:
    if not master_key:
        return None
    return hmac.new(master_key.reveal().encode(), b"tollgate sso logins", hashlib.sha256).digest()
