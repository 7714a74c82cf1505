"""What the plugin costs a test suite that does not use it.

A suite of 1,000 ordinary tests is collected and run with the plugin and with `-p no:dlperf`, in
pairs whose order alternates; the figure is the ratio of the two wall times, pair by pair.

    python benchmarks/overhead.py [--pairs 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILES, TESTS = 20, 50


def write_suite(folder: Path) -> None:
    """1,000 tests in 20 files."""
    for file in range(FILES):
        body = "\n".join(f"def test_{n}():\n    assert {n} + 1 == {n + 1}\n" for n in range(TESTS))
        (folder / f"test_{file}.py").write_text(body)


def seconds(folder: Path, *options: str) -> float:
    """Wall time of one pytest run."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603 - our own
    return time.perf_counter() - started


def main() -> None:
    """Run the pairs and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_suite(folder)
        seconds(folder)
        seconds(folder, "-p", "no:dlperf")
        with_plugin, without = [], []
        for pair in range(pairs):
            for plugin in (True, False) if pair % 2 else (False, True):
                if plugin:
                    with_plugin.append(seconds(folder))
                else:
                    without.append(seconds(folder, "-p", "no:dlperf"))
    ratios = sorted(a / b for a, b in zip(with_plugin, without, strict=True))
    print(f"{FILES * TESTS} ordinary tests, {pairs} pairs")
    print(f"with the plugin   median {statistics.median(with_plugin):.3f} s")
    print(f"-p no:dlperf      median {statistics.median(without):.3f} s")
    print(
        f"ratio             median {statistics.median(ratios):.3f} "
        f"({ratios[0]:.3f} to {ratios[-1]:.3f}; goal: at most 1.05)"
    )


if __name__ == "__main__":
    main()
