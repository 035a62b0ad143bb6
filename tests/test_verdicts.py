"""Verdicts on a mean of several runs."""

import pytest

from zoo.registry import Published
from zoo.verdicts import judge


def published(value: float, std: float | None = None, runs: int | None = None) -> Published:
    return Published(value=value, std=std, runs=runs, source="a paper")


@pytest.mark.parametrize(
    ("mean", "std", "n", "paper", "verdict"),
    [
        (80.0, 0.1, 10, None, "no published value"),
        (80.4, 0.0, 10, published(80.0), "reproduced"),  # half a point
        (64.4, 0.0, 10, published(63.9), "reproduced"),  # half a point, but for rounding
        (80.6, 0.1, 10, published(80.0), "close"),
        (80.6, 1.0, 10, published(80.0), "reproduced"),  # 80.0 lies in 80.6 ± 2.262 · 1.0 / √10 = 80.6 ± 0.715
        (80.8, 1.0, 10, published(80.0), "close"),
        (80.8, 1.0, 10, published(80.0, 1.0, 10), "reproduced"),  # Welch: t = 1.79, p = 0.09
        (80.8, 1.0, 10, published(80.0, 0.1, 100), "close"),  # Welch: t = 2.53, p = 0.03
        (82.0, 0.1, 10, published(80.0), "close"),
        (82.1, 0.1, 10, published(80.0), "higher"),
        (77.9, 0.1, 10, published(80.0), "lower"),
        (77.9, None, 1, published(80.0, 3.0), "lower"),  # one run has no deviation to test with
        (77.9, None, 1, published(77.5), "reproduced"),
    ],
)
def test_verdict(mean: float, std: float | None, n: int, paper: Published | None, verdict: str) -> None:
    assert judge(mean, std, n, paper, "accuracy") == verdict


def test_a_point_of_nmse_is_a_hundredth_of_the_published_value() -> None:
    assert judge(0.5025, 0.0, 5, published(0.5), "nmse") == "reproduced"
    assert judge(0.508, 0.0, 5, published(0.5), "nmse") == "close"
    assert judge(0.52, 0.0, 5, published(0.5), "nmse") == "higher"
