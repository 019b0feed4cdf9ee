"""Whose certificates providers may have."""

import ssl

from shared.settings import SettingsError


def context(verify: bool | str | None) -> ssl.SSLContext:
    """Raises SettingsError where the authority can't be read.

    Args:
        verify: `ssl_verify` of litellm_settings or of an entry. false: any certificate; a path: of
            this authority besides the system's; else the system's.
    """
    made = ssl.create_default_context()
    made.set_alpn_protocols(["http/1.1"])
    word = str(verify).strip().lower()
    off = verify is not None and word in ("false", "0", "no", "off")
    if off:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    elif isinstance(verify, str) and word not in ("", "true", "1", "yes", "on"):
        try:
            made.load_verify_locations(verify)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"ssl_verify: {verify[:200]} can't be read: {error}") from None
    return made
