"""The measurements of a run as Markdown."""

from __future__ import annotations

from builders import estimate, make_judgement, make_measurement, make_record
from markdown_it import MarkdownIt

from pytest_dlperf.report.github import run_markdown
from pytest_dlperf.results.verdict import Verdict

MOST = 1 << 20
FAST = make_record(
    make_judgement(),
    measurement=make_measurement({"throughput": estimate(1000.0), "p99": estimate(0.02)}),
)
SLOW = make_record(
    make_judgement(
        Verdict.FAIL, measured=estimate(900.0, 0.1), limit=1200.0, baseline=1300.0, revision="0123"
    ),
    make_judgement(
        Verdict.INCONCLUSIVE,
        budget="p99 <= 20ms",
        metric="p99",
        measured=estimate(0.02, 0.1),
        reason="the noise hides it",
        fails_at=0.03,
    ),
    make_judgement(Verdict.PASS, budget="errors == 0", metric="errors"),
    measurement=make_measurement(test="tests/test_a.py::test_slow[`a|b`_*c*]"),
)


def tables(text: str) -> list[list[list[str]]]:
    """What is in the cells of each table, as a reader of the page sees it."""
    found: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        match token.type:
            case "table_open":
                found.append([])
            case "tr_open":
                found[-1].append([])
            case "inline" if token.children and found and token.level > 1:
                shown = (child.content or " " for child in token.children)
                found[-1][-1].append("".join(shown).strip())
    return found


def test_a_row_for_each_measurement() -> None:
    """The same columns as in the terminal, the verdict last."""
    (table,) = tables(run_markdown([FAST], "intel_xeon-2cpu", MOST))

    assert table == [
        ["measurement", "throughput", "p50", "p99", "accuracy", "verdict"],
        ["test_fast", "1,000/s", "-", "20 ms", "-", "PASS"],
    ]


def test_the_machine_class_is_told() -> None:
    """Figures are of a machine; its name is no mark-up."""
    tokens = MarkdownIt("commonmark").parse(run_markdown([FAST], "intel_xeon_2cpu", MOST))

    heading = next(token for token in tokens if token.type == "inline").children
    assert heading is not None
    assert "".join(child.content for child in heading) == "dlperf: intel_xeon_2cpu"


def test_failed_and_open_budgets_have_their_figures() -> None:
    """Measured, limit, baseline, interval; then why it is open and what to run next."""
    text = run_markdown([FAST, SLOW], "m", MOST)

    _, budgets = tables(text)
    assert budgets == [
        ["budget", "measured", "limit", "baseline", "verdict"],
        ["throughput >= 900/s", "900/s<br>810 to 990/s", "1,200/s", "1,300/s<br>0123", "FAIL"],
        ["p99 <= 20ms", "20 ms<br>18 to 22 ms", "-", "-", "INCONCLUSIVE"],
    ]
    assert "p99: the noise hides it; above 30 ms it would have been a FAIL" in text
    assert "--dlperf-update=all" in text
    assert "#### FAIL" in text
    assert text.count("####") == 1


def test_odd_names_are_shown_as_they_are() -> None:
    """Strokes, backticks, stars and underlines of a test's id break no table."""
    text = run_markdown([SLOW], "m", MOST)

    assert tables(text)[0][1][0] == "test_slow[`a|b`_*c*]"
    assert "`` tests/test_a.py::test_slow[`a|b`_*c*] ``" in text


def test_what_does_not_fit_is_left_out_whole() -> None:
    """GitHub takes a mebibyte or nothing: the summary is cut before that, and says so."""
    many = [SLOW] * 100
    whole = run_markdown(many, "m", MOST)

    cut = run_markdown(many, "m", 20_000)

    assert len(cut.encode()) <= 20_000
    assert cut.endswith("The rest did not fit: see the log.\n")
    assert whole.startswith(cut.removesuffix("\n\nThe rest did not fit: see the log.\n"))
    assert "The rest" not in whole
    assert not run_markdown(many, "m", 10)


def test_a_smoke_run_says_what_it_is() -> None:
    """Its speeds are nothing to go by."""
    quick = make_record(make_judgement(), quick=True)

    assert "quick: only errors" in run_markdown([quick], "m", MOST)
