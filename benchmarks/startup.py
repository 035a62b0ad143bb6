"""How long a user waits before anything happens: importing, listing, loading.

    python benchmarks/startup.py [--runs 7]

Prints the median and the minimum in milliseconds. Imports are timed in fresh processes, by their own clocks; loads in a
process that has imported torch, DGL and the zoo's models, each load of each bundled checkpoint with its sha256 check.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import click

import zoo

IMPORT = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
LIST = "import sys; sys.argv = ['zoo', 'list']; from zoo.cli import main; main()"
FIRST_LOAD = """
import time
import torch
from zoo._dgl import dgl
start = time.perf_counter()
import zoo
{}
print(time.perf_counter() - start)
"""


def milliseconds(times: list[float]) -> str:
    return f"{1000 * statistics.median(times):8.1f} {1000 * min(times):8.1f}"


def own_clock(code: str, runs: int) -> list[float]:
    """The last line that a fresh Python prints, as seconds."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    outputs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(runs)]
    return [float(output.splitlines()[-1]) for output in outputs]


def from_outside(code: str, runs: int) -> list[float]:
    """Whole processes, from start to exit."""

    def call() -> None:
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)

    return repeated(call, runs)


def repeated(call: Callable[[], object], runs: int) -> list[float]:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


@click.command()
@click.option("--runs", default=7, show_default=True)
def main(runs: int) -> None:
    """Prints a line per thing that is timed."""
    from_outside("import zoo.models", 1)  # files into the page cache
    print(f"{'':58s}   median      min  (ms)")
    print(f"{'import zoo':58s} {milliseconds(own_clock(IMPORT.format('import zoo'), runs))}")
    print(f"{'zoo list, whole process':58s} {milliseconds(from_outside(LIST, runs))}")
    print(f"{'bare python, whole process':58s} {milliseconds(from_outside('pass', runs))}")
    print(f"{'import torch':58s} {milliseconds(own_clock(IMPORT.format('import torch'), runs))}")
    first = FIRST_LOAD.format("zoo.load('cna-gcn-cora')")
    print(f"{'first zoo.load of a process, torch and dgl imported':58s} {milliseconds(own_clock(first, runs))}")
    zoo.load("cna-gcn-cora")
    for name in zoo.list_checkpoints():
        size = zoo.info(name).weights.bytes / 1e6
        times = repeated(lambda name=name: zoo.load(name), runs)  # type: ignore[misc]
        print(f"{f'zoo.load({name!r}), {size:.2f} MB':58s} {milliseconds(times)}")


if __name__ == "__main__":
    main()
