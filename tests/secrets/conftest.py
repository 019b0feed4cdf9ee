"""Real managers: OpenBao (Vault's interface), moto (AWS's); and servers that speak Azure's and
Google's protocols.
"""

from collections.abc import Iterator

import pytest

from tests.support.managers import Bao, Moto


@pytest.fixture(scope="module")
def bao() -> Iterator[Bao]:
    server = Bao()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def moto_server() -> Iterator[Moto]:
    found = Moto()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def moto(moto_server: Moto) -> str:
    """The address of a local AWS: Secrets Manager, KMS, STS."""
    return moto_server.address


@pytest.fixture
def aws(moto: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Its environment; botocore itself reads the endpoint's variable."""
    found = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION_NAME": "eu-central-1"}
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    return found
