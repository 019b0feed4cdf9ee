"""What users of other gateways reported of pass-through endpoints: one row a report."""

import pytest

from tests.edge.passthrough.passthrough_kit import World


@pytest.mark.parametrize(
    ("cost", "tokens", "picousd", "counted"),
    [
        ("0.0125", "321", 12_500_000_000, 321),
        ("0.0125", "", 12_500_000_000, 0),
        ("0.0049099999999999994", "x", 4_910_000_000, 0),
        ("1e-05", "-3", 10_000_000, 0),
        ("0", "5", 0, 5),
        ("", "5", 7_000_000_000_000, 5),
        ("-1", "", 7_000_000_000_000, 0),
        ("nan", "9" * 30, 7_000_000_000_000, 0),
        ("1e99", "", 7_000_000_000_000, 0),
    ],
)
@pytest.mark.parametrize("status", [200, 500])
async def test_a_target_may_say_what_a_call_cost(
    world: World, status: int, cost: str, tokens: str, picousd: int, counted: int
) -> None:
    """It goes before the operator's flat price; what can't be believed doesn't count."""

    said = {"x-litellm-response-cost": cost, "x-litellm-total-tokens": tokens}
    world.target.said_status, world.target.said_more = status, {name: value for name, value in said.items() if value}
    world.endpoint(cost_per_request=7, include_subpath=True)
    answer = await world.ask("/their/said")
    assert answer.status == status and answer.headers.get("x-litellm-response-cost", "") == cost
    settled = await world.settled()
    assert settled.cost_picousd == picousd
    assert settled.usage.input_tokens == (counted if status == 200 else 0)
