"""What single sign-on needs of the process: its settings, a way out, the throttle, and the key that seals logins on their way."""

import hashlib
import hmac

import msgspec

from services.edge.sso.settings import SsoSettings
from services.edge.sso.throttle import Throttle
from shared.outbound import Outbound
from shared.secrets.value import Secret


class Sso(msgspec.Struct, kw_only=True):
    settings: SsoSettings = msgspec.field(default_factory=SsoSettings)
    outbound: Outbound | None = None
    throttle: Throttle = msgspec.field(default_factory=Throttle)
    username: str = "admin"
    """`UI_USERNAME`."""
    password: Secret | None = None
    """`UI_PASSWORD`; None: the master key is the password."""
    master_key: Secret | None = None

    def sealing_key(self) -> bytes | None:
        """32 bytes, the same on every edge of one gateway; None without a master key: then nobody can come in at all."""
        if not self.master_key:
            return None
        return hmac.new(self.master_key.reveal().encode(), b"tollgate sso logins", hashlib.sha256).digest()
