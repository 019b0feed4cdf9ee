"""What an edge is made of before it knows the bus: settings, the configuration's targets and looks,
ways out, what secrets need.

`Renewal` puts a changed configuration into force later; what is made here once says so in
`configured.LATER`.
"""

import resource
import ssl
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from services.edge import configured, front, own_auth
from services.edge.config import EdgeSettings
from services.edge.configured import USER_AGENT, Configured
from services.edge.http import Certificate, Limits
from services.edge.http.budget import bytes_default
from services.edge.providers.base import Target
from services.edge.renewal import Renewal
from services.edge.stored import front as stored_front
from services.edge.stored.front import Connect
from services.edge.tokens import Tokens
from services.edge.upstream import Origin
from services.edge.upstream.tls import context
from shared import settings
from shared.config import Config
from shared.identity import settings as jwt_settings
from shared.identity.verifier import Verifier, own_validate
from shared.ids import DeploymentId
from shared.outbound import Guard, Outbound, OutboundSettings, guard_of
from shared.secrets import KeyManagement
from shared.secrets.stored_keys import StoredKeys
from shared.secrets.stored_keys import of as stored
from shared.settings import SettingsError
from shared.startup import Source

log = structlog.get_logger()

OPEN_FILES = 65_536
"""Asked for at start, as far as the hard limit goes."""
CONNECTIONS_MAX = 16_384


class Setup(msgspec.Struct, kw_only=True):
    conf: EdgeSettings
    source: Source
    found: Configured
    """Of the configuration file, as it was at the start."""
    renewal: Renewal
    targets: dict[DeploymentId, Target]
    left_out: dict[DeploymentId, str]
    outbound: Outbound
    relay_outbound: Outbound
    """For targets that the file names, and providers whose answers are relayed."""
    named_outbound: Outbound
    """For targets that somebody with a key names."""
    tokens: Tokens
    lasting: dict[str, Any]
    """Fields of Parts that are made once (front.py)."""
    stored_keys: StoredKeys | None
    connect_stored: Connect
    ledger: Origin
    ledger_path: str
    certificate: Certificate | None
    trust: ssl.SSLContext
    """Whose certificates providers may have."""
    limits: Limits

    async def close(self) -> None:
        await self.lasting["alerts"].close()
        if self.lasting["cache"] is not None:
            await self.lasting["cache"].store.close()
        await self.tokens.close()
        await self.outbound.close()
        await self.relay_outbound.close()
        await self.named_outbound.close()
        if self.stored_keys is not None:
            await self.stored_keys.close()
        await self.source.close()


async def set_up(given: Mapping[str, str]) -> Setup:
    """Raises ConfigError or SettingsError.

    Args:
        given: the environment.
    """
    conf = settings.read(EdgeSettings, given)
    source = await Source.open(conf.config, given, "edge")
    try:
        return _made(source, settings.read(EdgeSettings, source.environ))  # with what its values refer to
    except BaseException:
        await source.close()
        raise


def _made(source: Source, conf: EdgeSettings) -> Setup:
    config, environ = source.config, source.environ
    outbound = Outbound(OutboundSettings.read(environ), Guard(any_address=True))

    def read(config: Config, environ: Mapping[str, str]) -> Configured:
        return configured.read(config, environ, outbound, conf.edge_host)

    found = read(config, environ)
    targets, left_out = dict(found.targets), dict(found.left_out)
    ledger, ledger_path = _ledger(conf.ledger_url)
    relay = Outbound(OutboundSettings.read(environ, config.litellm.ssl_verify), Guard(any_address=True))
    return Setup(
        conf=conf,
        source=source,
        found=found,
        renewal=Renewal(source, conf, found, read),
        targets=targets,
        left_out=left_out,
        outbound=outbound,
        relay_outbound=relay,
        named_outbound=Outbound(
            OutboundSettings.read(environ),
            guard_of(
                conf.edge_passthrough_networks, "TOLLGATE_EDGE_PASSTHROUGH_NETWORKS", offline=config.general.offline
            ),
        ),
        tokens=_tokens(config, environ, outbound),
        lasting=front.lasting(config, environ, outbound, relay, conf.data_dir),
        stored_keys=stored(KeyManagement.of(config.general_settings), environ),
        connect_stored=stored_front.build(conf, config, environ, USER_AGENT, targets, left_out),
        ledger=ledger,
        ledger_path=ledger_path,
        certificate=certificate_of(conf, environ),
        trust=_trust(config, environ),
        limits=_limits(conf, config.general.global_max_parallel_requests),
    )


def _tokens(config: Config, environ: Mapping[str, str], outbound: Outbound) -> Tokens:
    """Raises SettingsError for rules that can't be kept."""
    auth = jwt_settings.read(config.general_settings, environ)
    verifier = None if auth is None else Verifier(outbound, auth, validate=own_validate(auth, config.directory))
    return Tokens(verifier, own_auth.load(config))


def _trust(config: Config, environ: Mapping[str, str]) -> ssl.SSLContext:
    """The environment goes before the file, as in LiteLLM. Raises SettingsError."""
    made = context(environ.get("SSL_VERIFY", "").strip() or config.litellm.ssl_verify)
    if made.verify_mode == ssl.CERT_NONE:
        log.warning(
            "certificates_of_providers_not_checked", because="SSL_VERIFY or litellm_settings.ssl_verify is false"
        )
    return made


def certificate_of(conf: EdgeSettings, environ: Mapping[str, str]) -> Certificate | None:
    """LiteLLM's variables stand in for ours. Raises SettingsError."""
    cert = conf.edge_tls_cert_file or environ.get("SSL_CERTFILE_PATH", "")
    key = conf.edge_tls_key_file or environ.get("SSL_KEYFILE_PATH", "")
    if not (cert or key):
        return None
    if not (cert and key):
        raise SettingsError("TOLLGATE_EDGE_TLS_CERT_FILE and TOLLGATE_EDGE_TLS_KEY_FILE: TLS needs both")
    try:
        return Certificate(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"TOLLGATE_EDGE_TLS_CERT_FILE: {cert} and {key} can't be used ({type(error).__name__}: {str(error)[:120]})"
        ) from None


def _limits(conf: EdgeSettings, requests_max: int | None) -> Limits:
    """The settings, with what they leave to the machine filled in.

    Args:
        requests_max: what the file says; None: it says nothing.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    files = OPEN_FILES if soft == resource.RLIM_INFINITY else soft
    return Limits(
        bytes_max=conf.edge_held_bytes_max or bytes_default(),
        connections_max=conf.edge_connections_max or max(8, min(CONNECTIONS_MAX, files // 3)),
        connections_per_address_max=conf.edge_connections_per_address_max,
        requests_max=min(conf.edge_requests_max, requests_max or conf.edge_requests_max),
    )


def _ledger(url: str) -> tuple[Origin, str]:
    try:
        return Origin.parse(url)
    except ValueError as error:
        raise SettingsError(f"TOLLGATE_LEDGER_URL: {error}") from None
