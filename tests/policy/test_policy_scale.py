"""What a key costs, in a small world; `make prove` measures 100,000
(tests/prove/test_policy_at_scale.py).
"""

from tests.policy.scale import measured


def test_a_decision_costs_less_than_a_millisecond_and_a_key_less_than_a_kilobyte_and_a_half() -> None:
    found = measured(10_000, 100, 1_000)
    print(found)
    assert found.bytes_a_key < 1_500
    assert found.decide_us[1] < 1_000
