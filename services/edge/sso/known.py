"""Browsers that have signed in to an account by its password: they go on doing so while strangers
try that password. Pure.

A cookie says so, of a browser and one account: `<16 hex digits>.<mac>`. It opens nothing.
"""

import hashlib
import hmac
from collections.abc import Sequence

KNOWN = "tollgate_known"
KNOWN_S = 180 * 86_400
ID_BYTES = 8


def account_of(username: str) -> str:
    """As it is counted: whatever was typed, of one length."""
    return hashlib.sha256(username.strip().casefold().encode("utf-8", "replace")).hexdigest()


def told(key: bytes, account: str, browser: str) -> str:
    """The cookie's value. `browser`: ID_BYTES nobody can guess, in hex."""
    return f"{browser}.{_mac(key, account, browser)}"


def browser_of(keys: Sequence[bytes], account: str, sent: str | None) -> str | None:
    """Which browser it is that this account knows; None: none."""
    browser, dot, mac = (sent or "").partition(".")
    if not dot or len(browser) != 2 * ID_BYTES:
        return None
    good = any(
        hmac.compare_digest(_mac(key, account, browser).encode(), mac.encode("utf-8", "replace")) for key in keys
    )
    return browser if good else None


def _mac(key: bytes, account: str, browser: str) -> str:
    said = f"tollgate known browser {account} {browser}".encode("utf-8", "replace")
    return hmac.new(key, said, hashlib.sha256).hexdigest()
