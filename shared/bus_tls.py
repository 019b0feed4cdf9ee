"""TLS to the broker."""

import ssl

import msgspec

from shared.settings import SettingsError


class BusSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How every service speaks TLS to the broker: `TOLLGATE_<FIELD>`. Only where the URL says `tls://`."""

    nats_ca_file: str = ""
    """PEM. Empty: the system's authorities."""
    nats_cert_file: str = ""
    """PEM, where the broker wants a certificate of us (`verify`); with `nats_key_file`."""
    nats_key_file: str = ""

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
