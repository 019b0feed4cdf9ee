"""A leak is told from noise."""

import random

import pytest

from tests.chaos.trend import fit, student

SECONDS = [5.0 * i for i in range(360)]


def series(per_hour: float, noise: float, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [50 + per_hour * s / 3600 + rng.gauss(0, noise) for s in SECONDS]


def test_the_slope_of_a_line_is_found_exactly() -> None:
    trend = fit(SECONDS, series(12.0, 0.0))
    assert trend.slope == pytest.approx(12.0) and trend.high - trend.low < 1e-6


def test_a_leak_in_noise_is_no_flat_line() -> None:
    trend = fit(SECONDS, series(10.0, 2.0))
    assert not trend.flat(4.0) and trend.low < 10.0 < trend.high


def test_noise_and_what_shrinks_are_flat() -> None:
    assert fit(SECONDS, series(-30.0, 1.0)).flat(0.0)
    flat = sum(fit(SECONDS, series(0.0, 3.0, seed)).low <= 0 for seed in range(200))
    assert flat > 185  # 97.5 % are expected


def test_growth_below_the_bound_is_flat() -> None:
    assert fit(SECONDS, series(3.0, 0.1)).flat(4.0) and not fit(SECONDS, series(5.0, 0.1)).flat(4.0)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        fit(SECONDS[:20], SECONDS[:20])


def test_student_agrees_with_the_tables() -> None:
    assert student(0.95, 10) == pytest.approx(2.2281, rel=1e-3)
    assert student(0.95, 30) == pytest.approx(2.0423, rel=1e-3)
