"""Does a series of samples grow? Least squares with a confidence interval. Pure."""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean
from typing import NamedTuple

BLOCKS = 12
CONFIDENCE = 0.95


class Trend(NamedTuple):
    """Per hour, with its 95 % interval."""

    slope: float
    low: float
    high: float

    def flat(self, bound: float) -> bool:
        """Whether zero growth is within the interval (or above it), or the growth is below `bound`
        an hour.
        """
        return self.low <= 0 or self.slope <= bound


def fit(seconds: Sequence[float], values: Sequence[float]) -> Trend:
    """The samples of a process depend on those before them (a heap grows in steps), which would
    make an interval from all of them too narrow: so the line goes through the means of BLOCKS
    consecutive stretches. At least 2 samples a block."""
    size = len(values) // BLOCKS
    if size < 2:
        raise ValueError(f"{len(values)} samples are too few for a trend")
    starts = range(len(values) - size * BLOCKS, len(values), size)
    x = [fmean(seconds[i : i + size]) / 3600 for i in starts]
    y = [fmean(values[i : i + size]) for i in starts]
    mean_x, mean_y = fmean(x), fmean(y)
    spread = sum((each - mean_x) ** 2 for each in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    rest = sum((b - mean_y - slope * (a - mean_x)) ** 2 for a, b in zip(x, y, strict=True))
    error = math.sqrt(rest / (BLOCKS - 2) / spread)
    half = student(CONFIDENCE, BLOCKS - 2) * error
    return Trend(slope, slope - half, slope + half)


def student(confidence: float, freedom: int) -> float:
    """Two-sided quantile of Student's t (Cornish-Fisher, four terms: within 0.1 % from 8 degrees of
    freedom).
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return float(sum(term / freedom**power for power, term in enumerate(terms)))
