"""How we reach the outside: proxy and certificates, by the variable names that people have set
already.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path

import msgspec

from shared.outbound.addresses import Guard
from shared.settings import SettingsError

_FALSE = frozenset({"false", "0", "no", "off"})


def guard_of(networks: str, variable: str, *, offline: bool = False) -> Guard:
    """For targets that somebody with a key names. Raises SettingsError.

    Args:
        networks: private ones that may be asked all the same, comma-separated; the value of
            `variable`.
        offline: those alone.
    """
    try:
        listed = filter(None, (each.strip() for each in networks.split(",")))
        return Guard.for_named_targets(listed, listed_only=offline)
    except ValueError as error:
        raise SettingsError(f"{variable}: {error}") from None


class OutboundSettings(msgspec.Struct, frozen=True, kw_only=True):
    https_proxy: str | None = None
    """`HTTPS_PROXY`: the address of a proxy for https targets."""
    http_proxy: str | None = None
    """`HTTP_PROXY`: for http targets."""
    no_proxy: tuple[str, ...] = ()
    """`NO_PROXY`: hosts, and domains with all below them, that are asked directly; `*`: all."""
    ca_file: str | None = None
    """`SSL_CERT_FILE`, or LiteLLM's `SSL_VERIFY` with a path: certificate authorities to trust, in
    PEM.
    """
    verify: bool = True
    """`SSL_VERIFY=false`: accept any certificate. For trying things out; named in a warning at
    start.
    """
    client_certificate: str | None = None
    """`SSL_CERTIFICATE`: ours, for servers that ask for one: PEM, with its key unless `SSL_KEY`
    names that.
    """
    client_key: str | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str], verify: bool | str | None = None) -> "OutboundSettings":
        """Raises SettingsError for a file that isn't there.

        Args:
            verify: stands for SSL_VERIFY where that isn't set.
        """

        def found(*names: str) -> str | None:
            return next((value for name in names if (value := environ.get(name, "").strip())), None)

        said = found("SSL_VERIFY") or ("" if verify is None else str(verify).strip())
        is_path = said.lower() not in _FALSE | {"", "true", "1", "yes", "on"}
        settings = cls(
            https_proxy=found("HTTPS_PROXY", "https_proxy"),
            http_proxy=found("HTTP_PROXY", "http_proxy"),
            no_proxy=tuple(filter(None, (each.strip() for each in (found("NO_PROXY", "no_proxy") or "").split(",")))),
            ca_file=said if is_path else found("SSL_CERT_FILE"),
            verify=said.lower() not in _FALSE,
            client_certificate=found("SSL_CERTIFICATE"),
            client_key=found("SSL_KEY"),
        )
        for name in ("ca_file", "client_certificate", "client_key"):
            path = getattr(settings, name)
            if path is not None and not Path(path).is_file():
                raise SettingsError(f"{name}: there is no file {path}")
        return settings

    def proxy_for(self, scheme: str, host: str) -> str | None:
        """The proxy's address for a target, or None: directly."""
        proxy = self.https_proxy if scheme == "https" else self.http_proxy
        if proxy is None:
            return None
        host = host.lower().rstrip(".")
        for each in self.no_proxy:
            domain = each.lower().lstrip("*").lstrip(".")
            if each == "*" or host == domain or (domain and host.endswith("." + domain)):
                return None
        return proxy

    def tls(self) -> ssl.SSLContext:
        """Raises SettingsError where a certificate can't be read."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if not self.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.client_certificate is not None:
                context.load_cert_chain(self.client_certificate, self.client_key)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"a certificate can't be read: {error.strerror or error}") from None
        return context
