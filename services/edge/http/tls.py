"""TLS on the clients' port: one context, whose certificate is read again when its files change."""

import os
import ssl

import structlog

log = structlog.get_logger()

HANDSHAKE_S = 10.0
EVERY_S = 30.0
"""How often the files are looked at: certificates are renewed under a running edge."""


class Certificate:
    """
    Args:
        cert_file, key_file: PEM; the certificate with those between it and the authority.

    Raises OSError or ssl.SSLError where they can't be used.
    """

    def __init__(self, cert_file: str, key_file: str) -> None:
        self._cert_file, self._key_file = cert_file, key_file
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._seen = self._stamp()
        self.context.load_cert_chain(cert_file, key_file)

    def refresh(self) -> bool:
        """Whether new connections get another certificate from now on. What can't be used changes
        nothing.
        """
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return False
            self._seen = stamp
            trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # half a pair must not get into the one in use
            trial.load_cert_chain(self._cert_file, self._key_file)
            self.context.load_cert_chain(self._cert_file, self._key_file)
        except (OSError, ssl.SSLError) as error:
            log.error("certificate_not_read", file=self._cert_file, error=type(error).__name__)
            return False
        log.info("certificate_read_again", file=self._cert_file)
        return True

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(
            (found.st_mtime_ns, found.st_size, found.st_ino)
            for found in (os.stat(name) for name in (self._cert_file, self._key_file))
        )
