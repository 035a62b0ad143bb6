"""A cell's runs beside the published number: mean, deviation, verdict."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from zoo.registry import PER_CENT, Published
from zoo.results import Row
from zoo.tables import Cell

__all__ = ["CellResult", "Difference", "judge", "summarise"]

SEEDS_ASSUMED = 10  # where a paper prints a deviation but not its number of runs


@dataclass(frozen=True)
class Difference:
    """By how much the test scores of a cell differ from those of the baseline in its column, seed by seed.

    Attributes:
        mean: Of the differences; above 0 where the cell's scores are the larger ones.
        margin: Half the width of the 95 % interval of a paired t-test: it is mean ± margin.
        n: Number of seeds that both have, at least two.
    """

    mean: float
    margin: float
    n: int


@dataclass(frozen=True)
class CellResult:
    """All runs of a cell, beside what was published.

    Attributes:
        cell: The cell.
        rows: Its runs.
        mean: Of the test scores; None without runs.
        std: Unbiased; None with fewer than two runs.
        verdict: One of `zoo.registry.VERDICTS`.
        reason: Why it was not run, or the recipe's diagnosis.
        failures: What went wrong in runs that were tried now.
        difference: From the table's baseline, where it has one and both have runs.
    """

    cell: Cell
    rows: tuple[Row, ...]
    mean: float | None
    std: float | None
    verdict: str
    reason: str = ""
    failures: tuple[str, ...] = ()
    difference: Difference | None = None

    @property
    def val(self) -> float | None:
        """The mean validation score of the runs, each at its selected epoch; None without runs."""
        return statistics.fmean(row.val for row in self.rows) if self.rows else None

    @property
    def seconds_per_epoch(self) -> float | None:
        """The mean over runs, evaluations included; None without runs."""
        return statistics.fmean(row.seconds / row.epochs for row in self.rows) if self.rows else None


def summarise(
    cell: Cell, rows: Sequence[Row], reason: str | None = None, baseline: Cell | None = None
) -> CellResult:
    """Mean, deviation, verdict and difference from the baseline of a cell's runs among all of a table's.

    While runs are missing, only the distance counts for the verdict.
    """
    own = _runs_of(cell, rows)
    if not own:
        return CellResult(cell, own, None, None, "not run", reason or cell.not_run)
    scores = [row.test for row in own]
    mean = statistics.fmean(scores)
    std = statistics.stdev(scores) if len(scores) > 1 else None
    complete = len(scores) >= cell.recipe.protocol.seeds  # the fewer runs, the more would be compatible with them
    verdict = judge(mean, std if complete else None, len(scores), cell.recipe.published, own[0].metric)
    difference = _difference(own, _runs_of(baseline, rows)) if baseline is not None else None
    return CellResult(cell, own, mean, std, verdict, cell.recipe.diagnosis, difference=difference)


def _runs_of(cell: Cell, rows: Iterable[Row]) -> tuple[Row, ...]:
    digest = cell.recipe.digest()
    return tuple(row for row in rows if (row.cell, row.digest) == (cell.name, digest))


def _difference(rows: Iterable[Row], baseline: Iterable[Row]) -> Difference | None:
    """Paired over the seeds that both have; None with fewer than two."""
    from scipy import stats

    scores = {row.seed: row.test for row in baseline}
    differences = [row.test - scores[row.seed] for row in rows if row.seed in scores]
    n = len(differences)
    if n < 2:
        return None
    margin = float(stats.t.ppf(0.975, n - 1)) * statistics.stdev(differences) / math.sqrt(n)
    return Difference(statistics.fmean(differences), margin, n)


def judge(mean: float, std: float | None, n: int, published: Published | None, metric: str) -> str:
    """The verdict on a mean of n runs.

    Reproduced: the published value lies in the 95 % confidence interval of our mean, or Welch's test from the two
    summaries gives p ≥ 0.05, or they differ by at most 0.5 point. Close: by at most 2 points. A point is one per cent
    of accuracy or of area under the curve, and for NMSE and MSE one per cent of the published value.
    """
    if published is None:
        return "no published value"
    point = 1.0 if metric in PER_CENT else abs(published.value) / 100
    difference = round(mean - published.value, 9)  # 64.4 - 63.9 is more than 0.5 by rounding
    if abs(difference) <= 0.5 * point or _compatible(mean, std, n, published):
        return "reproduced"
    if abs(difference) <= 2 * point:
        return "close"
    return "higher" if difference > 0 else "lower"


def _compatible(mean: float, std: float | None, n: int, published: Published) -> bool:
    """Whether a statistical test finds no difference."""
    from scipy import stats

    if std is None:
        return False
    if abs(mean - published.value) <= stats.t.ppf(0.975, n - 1) * std / math.sqrt(n):
        return True
    if not published.std:
        return False
    others = published.runs or SEEDS_ASSUMED
    test = stats.ttest_ind_from_stats(mean, std, n, published.value, published.std, others, equal_var=False)
    return bool(test.pvalue >= 0.05)
