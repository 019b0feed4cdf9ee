"""Whose certificates providers may have."""

import ssl

from shared.settings import SettingsError


def context(verify: bool | str | None) -> ssl.SSLContext:
    """Raises SettingsError where the authority can't be read.

    Args:
        verify: `litellm_settings.ssl_verify`: false: any certificate; a path: of this authority besides the system's; else the system's.
    """
    made = ssl.create_default_context()
    made.set_alpn_protocols(["http/1.1"])
    off = verify is False or (isinstance(verify, str) and verify.strip().lower() == "false")
    if off:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    elif isinstance(verify, str) and verify.strip().lower() not in ("", "true"):
        try:
            made.load_verify_locations(verify)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"litellm_settings.ssl_verify: {verify[:200]} can't be read: {error}") from None
    return made
