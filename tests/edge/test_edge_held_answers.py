"""What is kept of a provider's answer comes out of the budget, once, and is given back."""

import pytest

from services.edge.http.budget import Budget
from tests.edge.conftest import Start
from tests.edge.fakes import Provider, always, completion, response, until
from tests.edge.harness import Edge, told

SIZE = 3_000_000


async def test_an_answer_counts_once_while_it_is_kept(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    body = completion("x" * SIZE)
    edge = await start(always(response(body)))
    most, hold = 0, Budget.hold

    def watched(self: Budget, *args: object, **kwargs: object) -> bool:
        nonlocal most
        held = hold(self, *args, **kwargs)
        most = max(most, self.held_bytes)
        return held

    monkeypatch.setattr(Budget, "hold", watched)
    before = edge.server._budget.held_bytes
    assert (await edge.chat()).body == body
    assert len(body) <= most - before < 1.9 * len(body), "kept, and counted once"
    await until(lambda: edge.server._budget.held_bytes < len(body) // 2)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_for_which_there_is_no_room_is_a_503_that_is_settled(stream: bool) -> None:
    """Also where a stream was asked for, and it comes in one piece."""
    async with (
        Provider(always(response(completion("x" * SIZE)))) as provider,
        Edge({"m": [provider.url]}, limits={"bytes_max": SIZE // 2}) as edge,
    ):
        assert (await edge.chat(stream=stream)).status == 503
        _, settled = await told(edge)
        assert (settled.outcome, settled.status, settled.error_code) == ("edge_error", 503, "overloaded")
        assert settled.usage.source == "lower_bound"
