"""A provider refuses its key: another one is looked for, and the call goes on with it."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from tests.edge.conftest import Start
from tests.edge.fakes import Peer, always, completion, response
from tests.edge.harness import Edge, told

pytestmark = pytest.mark.usefixtures("impatient")
COST = 10 * 1_000_000 + 5 * 2_000_000
OLD_KEY, NEW_KEY = b"sk-of-the-provider-0000", b"sk-of-the-provider-1111"


async def by_key(peer: Peer) -> None:
    """Knows the new key alone."""
    while True:
        head, _ = await peer.request()
        await peer.send(response(completion()) if NEW_KEY in head else response(b'{"error": "key"}', "401 X"))


def renewing(edge: Edge, asked: list[int]) -> Callable[[], Awaitable[None]]:
    """What a secret manager with another key comes to (renewal.py)."""

    async def key_refused() -> None:
        asked.append(1)
        await asyncio.sleep(0)
        found = edge.parts.targets["m-0"]
        headers = found.headers.replace(OLD_KEY, NEW_KEY)
        edge.parts.targets["m-0"] = msgspec.structs.replace(found, headers=headers)

    return key_refused


def keys_of(edge: Edge) -> list[bool]:
    """Whether each request had the new key."""
    return [NEW_KEY in head for head in edge.providers[0].heads]  # type: ignore[attr-defined]


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_refused_key_is_asked_for_again_and_the_call_goes_on_with_the_new_one(
    start: Start, streaming: bool
) -> None:
    edge, asked = await start(by_key), []
    edge.parts.key_refused = renewing(edge, asked)
    assert OLD_KEY in edge.parts.targets["m-0"].headers
    answer = await edge.chat(stream=streaming)
    assert answer.status == 200 and b"Hi there" in answer.body
    assert keys_of(edge) == [False, True] and asked == [1]
    _, settled = await told(edge)
    assert (settled.outcome, settled.attempts, settled.cost_picousd) == ("success", 1, COST)
    assert (await edge.chat()).status == 200
    assert keys_of(edge) == [False, True, True] and asked == [1], "later calls begin with the new one"


async def test_a_key_that_was_renewed_meanwhile_is_used_without_asking(start: Start) -> None:
    asked: list[int] = []

    async def slow(peer: Peer) -> None:
        """Another call has found the new key while this one waits for its refusal."""
        head, _ = await peer.request()
        assert OLD_KEY in head
        await renewing(edge, [])()
        await peer.send(response(b"{}", "401 X"))
        head, _ = await peer.request()
        await peer.send(response(completion() if NEW_KEY in head else b"{}"))

    edge = await start(slow)
    edge.parts.key_refused = renewing(edge, asked)
    assert (await edge.chat()).status == 200
    assert keys_of(edge) == [False, True] and asked == []


@pytest.mark.parametrize("renewed", [False, True])
async def test_a_key_is_tried_once_more_and_no_oftener(start: Start, renewed: bool) -> None:
    body = b'{"error": {"message": "no", "type": "x", "param": null, "code": null}}'
    edge, asked = await start(always(response(body, "401 X"))), []
    if renewed:
        edge.parts.key_refused = renewing(edge, asked)
    assert (await edge.chat()).status == 401
    assert keys_of(edge) == ([False, True] if renewed else [False])
    _, settled = await told(edge)
    assert (settled.outcome, settled.error_code, settled.cost_picousd) == ("provider_error", "provider_401", 0)
