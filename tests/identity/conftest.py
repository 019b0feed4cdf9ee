from collections.abc import AsyncIterator

import pytest

from shared.outbound import Guard, Outbound, OutboundSettings
from tests.identity.identity_kit import Provider


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    found = Provider()
    runner = await found.serve()
    yield found
    await runner.cleanup()


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    found = Outbound(OutboundSettings(), Guard(any_address=True))
    yield found
    await found.close()
