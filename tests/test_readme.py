"""The README and the pages of `docs/`: what they show runs, and their tables are complete."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path

import pytest
import yaml

import pytest_dlperf
from pytest_dlperf.config.options import specs
from pytest_dlperf.judge.error_rates import ErrorRates
from pytest_dlperf.judge.loss_evidence import provable_losses
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.session_noise import EXCURSION, EXPECTED_EXCURSIONS, SessionNoise

TOP = Path(__file__).parent.parent
README = (TOP / "README.md").read_text()
DOCS = sorted((TOP / "docs").glob("*.md"))
GUIDE = "\n".join([README, *(page.read_text() for page in DOCS)])
OTHERS = (TOP / "README.md", TOP / "benchmarks" / "README.md")


HISTORIES = {
    "none": (0.05, 4.0, EXPECTED_EXCURSIONS[0][1]),
    "2 %, 30 days": (0.02, 12.0, 0.5 / 40),
    "5 %, 30 days": (0.05, 12.0, 0.5 / 40),
    "2 %, 100 days": (0.02, 25.0, 0.5 / 110),
    "5 %, 100 days": (0.05, 25.0, 0.5 / 110),
}
"""What sessions differ by and for how long it is known -> spread, freedom, share far off."""


def provable_rows() -> list[str]:
    """The rows of the table of losses that one session proves, as docs/baselines.md has them."""

    def percent(loss: float) -> str:
        return f"{-math.expm1(-loss) * 100:.0f} %"

    rows = []
    for history, (spread, freedom, share) in HISTORIES.items():
        noise = SessionNoise(math.log1p(spread), freedom, ((EXCURSION, share),))
        for days in (1, 3, 8):
            suspected, _ = provable_losses(noise, days, 0.01)
            proven = [
                provable_losses(noise, days, ErrorRates(budgets).stored)[1]
                for budgets in (1, 10, 40)
            ]
            least = max(suspected, math.log1p(METRICS["throughput"].detect))
            cells = [history, str(days), *map(percent, (least, *proven))]
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def code_blocks(language: str, page: str) -> list[str]:
    """All blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


@pytest.mark.tensorflow
def test_the_copied_test_runs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first example passes in an empty folder, here as a smoke run."""
    monkeypatch.delenv("CI", raising=False)
    pytester.makepyfile(test_copied=code_blocks("python", README)[0])

    result = pytester.runpytest_subprocess("--strict-markers", "--dlperf-quick")

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"measurement .*verdict", r"test_digits_under_load .*PASS"])


def test_the_table_of_provable_losses() -> None:
    """It is what the judge needs for a FAIL."""
    page = (TOP / "docs" / "baselines.md").read_text()
    assert "\n".join(provable_rows()) in page


@pytest.mark.parametrize("option", [n for n, spec in specs().items() if spec.kind != "value"])
def test_every_option_is_explained(option: str) -> None:
    """Each option has its place in the table."""
    assert f"`--dlperf-{option.replace('_', '-')}" in (TOP / "docs" / "options.md").read_text()


def test_workflows_are_whole_files() -> None:
    """The files for GitHub Actions and GitLab CI have a duel for changes, and record the rest."""
    blocks = code_blocks("yaml", (TOP / "docs" / "ci.md").read_text())

    github, gitlab = map(yaml.safe_load, blocks)

    jobs = github["jobs"]
    by_job = {name: str(job["steps"]) for name, job in jobs.items()}
    duel, record = "--dlperf-against=", "--dlperf-update=new --dlperf-update-in-ci"
    assert duel in by_job["duel"]
    assert record in by_job["record"]
    assert jobs["duel"]["steps"][0]["with"] == {"fetch-depth": 0}
    assert gitlab["variables"] == {"GIT_DEPTH": 0}
    assert duel in gitlab["duel"]["script"][0]
    assert record in gitlab["record"]["script"][0]
    for job in ("duel", "record"):
        assert "--dlperf-metrics=metrics.txt" in gitlab[job]["script"][0]
        assert gitlab[job]["artifacts"]["reports"]["metrics"] == "metrics.txt"


@pytest.mark.parametrize("option", sorted(set(re.findall(r"--dlperf-[a-z-]+", GUIDE))))
def test_every_option_that_is_named_exists(option: str) -> None:
    """No example has an option that pytest would refuse."""
    assert option.removeprefix("--dlperf-").replace("-", "_") in specs()


@pytest.mark.parametrize("word", [*METRICS, *Verdict])
def test_every_metric_and_verdict_is_explained(word: str) -> None:
    """Each metric and each verdict has its place in a table."""
    assert f"`{word}`" in GUIDE


def _anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", [*OTHERS, *DOCS], ids=lambda page: str(page.relative_to(TOP)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """Each link to a file of the project names one that is there, and a heading that it has."""
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text())

    for link in links:
        name, _, anchor = link.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), link
        assert not anchor or anchor in _anchors(there), link


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_every_page_is_linked_from_the_readme(page: Path) -> None:
    """The README links to all pages."""
    assert f"](docs/{page.name})" in README


@pytest.mark.parametrize(
    "block", code_blocks("python", GUIDE), ids=lambda block: block.split("\n")[0]
)
def test_examples_name_what_there_is(block: str) -> None:
    """Each example is Python, and what it takes from the package is there."""
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and node.module == "pytest_dlperf":
            missing = [name.name for name in node.names if not hasattr(pytest_dlperf, name.name)]
            assert missing == []
