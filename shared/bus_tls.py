"""How broker and services know each other: TLS, and a key of one's own."""

import ssl

import msgspec

from shared import nkeys
from shared.settings import SettingsError


class BusSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How every service speaks TLS to the broker, and who it is there: `TOLLGATE_<FIELD>`. TLS only
    where the URL says `tls://`.
    """

    nats_nkey_file: str = ""
    """A user's seed (`SU...`) or a credentials file (`.creds`): the broker knows us by it instead
    of by a password in the URL.
    """
    nats_ca_file: str = ""
    """PEM. Empty: the system's authorities."""
    nats_cert_file: str = ""
    """PEM, where the broker wants a certificate of us (`verify`); with `nats_key_file`."""
    nats_key_file: str = ""

    def nkey(self) -> str:
        """The file, looked at. Raises SettingsError."""
        if self.nats_nkey_file:
            nkeys.check(self.nats_nkey_file)
        return self.nats_nkey_file

    def context(self, url: str) -> ssl.SSLContext | None:
        """Raises SettingsError."""
        if not any(part.strip().startswith("tls://") for part in url.split(",")):
            return None
        try:
            context = ssl.create_default_context(cafile=self.nats_ca_file or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.nats_cert_file:
                context.load_cert_chain(self.nats_cert_file, self.nats_key_file or None)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"TOLLGATE_NATS_CA_FILE or TOLLGATE_NATS_CERT_FILE: {error}") from None
        return context
