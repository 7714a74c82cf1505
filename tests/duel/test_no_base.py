"""Whether a test is new, or is at the base and could not be measured there."""

from __future__ import annotations

import pytest
from builders import make_judgement, make_measurement

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.duel.no_base import (
    BaseCollection,
    ModuleSources,
    NoBase,
    Problem,
    judged_without_base,
    last_words,
    may_define,
    problem_of,
    why_failed,
    why_not_collected,
    why_not_measured,
)
from pytest_dlperf.results.verdict import Verdict

SOURCE = "def test_it(dlperf): ...\n"
FAILED = Problem("fails", "ImportError: no", "all of it")
TEST = "tests/test_a.py::test_it"


def kind(
    collection: BaseCollection,
    base: str | None = SOURCE,
    test: str = TEST,
    *,
    same: bool = False,
    lacks: str = "",
) -> str:
    """Why a test is not collected at the base."""
    sources = ModuleSources(base, same)
    return why_not_collected(test, "main", sources, collection, lambda: lacks)[0].kind


@pytest.mark.parametrize(
    ("node", "test"),
    [
        ("tests/test_a.py", TEST),
        ("tests", TEST),
        ("tests/__init__.py", TEST),
        ("tests/test_a.py::TestAll", "tests/test_a.py::TestAll::test_it[a/b::c]"),
        ("", TEST),
        (".", TEST),
    ],
)
def test_a_file_that_cannot_be_collected(node: str, test: str) -> None:
    """Its tests are there if the function is; so for its class, folder and package."""
    for failed in (BaseCollection(failed={node: FAILED}), BaseCollection(skipped={node: FAILED})):
        assert kind(failed, test=test) == "broken"
        assert kind(failed, base=None, test=test) == "absent"
        assert kind(failed, base="def test_other(): ...", test=test) == "absent"
    assert kind(BaseCollection(failed={"tests/test_b.py": FAILED}), "", test) == "absent"


def test_a_base_that_collects_nothing() -> None:
    """The reason is the session's own."""
    collection = BaseCollection(whole=Problem("cannot be run", "no test can be run", "output"))
    sources = ModuleSources(SOURCE, same=True)

    why, error = why_not_collected(TEST, "main", sources, collection, str)

    assert (why, error) == (NoBase("broken", "no test can be run"), "output")
    assert kind(collection, base="") == "absent"


def test_collected_without_the_test() -> None:
    """It is new, unless its function is there."""
    assert kind(BaseCollection(), base="def test_other(): ...") == "absent"
    assert kind(BaseCollection()) == "broken"


def test_other_parameters() -> None:
    """They are new, unless the module is the same and the base lacks what git does not track."""
    test, other = f"{TEST}[large]", BaseCollection(tests=frozenset({f"{TEST}[small]"}))

    assert kind(other, test=test) == "absent"
    assert kind(other, test=test, same=True) == "absent"
    assert kind(other, test=test, lacks="data/") == "absent"
    assert kind(other, test=test, same=True, lacks="data/") == "broken"
    none = BaseCollection(tests=frozenset({f"{TEST}[NOTSET]"}))
    assert kind(none, test=test) == "broken"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("class TestAll(Base): ...", True),
        ("from common import *", True),
        ("from common import test_it", True),
        ("test_it = make()", True),
        ("def broken(:", True),
        ("def test_item(): ...", False),
        ("class TestAll: ...", False),
        ("from pytest_dlperf import *", False),
    ],
)
def test_in_doubt_it_is_there(source: str, expected: bool) -> None:  # noqa: FBT001 - a parameter
    """A test may be inherited, imported or assigned."""
    assert may_define(source, "test_it") is expected


@pytest.mark.parametrize(
    ("measures", "others", "same", "lacks", "expected"),
    [
        (True, False, False, "", "broken"),
        (False, False, True, "data/", "absent"),
        (True, True, False, "data/", "absent"),
        (True, True, True, "", "absent"),
        (True, True, True, "data/", "broken"),
    ],
)
def test_a_measurement_that_is_not_made(
    measures: bool,  # noqa: FBT001
    others: bool,  # noqa: FBT001
    same: bool,  # noqa: FBT001
    lacks: str,
    expected: str,
) -> None:
    """A test that measures nothing at the base is broken there; one more measurement is new."""
    why = why_not_measured(
        "main",
        ModuleSources(SOURCE, same),
        measures=measures,
        others=others,
        lacks=lambda: lacks,
    )
    assert why.kind == expected


SKIPPED = {"outcome": "skipped", "when": "setup", "longrepr": ["a.py", 1, "Skipped: not today"]}


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (
            {**SKIPPED, "keywords": {"skip": 1}},
            NoBase("skipped", "the test is skipped at main: not today"),
        ),
        (
            {**SKIPPED, "keywords": {"skipif": 1}},
            NoBase("broken", "the test is skipped at main: not today"),
        ),
        ({**SKIPPED, "when": "call"}, NoBase("broken", "the test is skipped at main: not today")),
        (
            {**SKIPPED, "wasxfail": "slow"},
            NoBase("skipped", "the test is marked xfail at main: slow"),
        ),
        (
            {
                "outcome": "failed",
                "when": "setup",
                "longrepr": "file a.py\nE  fixture 'b' not found",
            },
            NoBase("broken", "the test cannot be set up at main: fixture 'b' not found"),
        ),
        (
            {"outcome": "failed", "when": "call", "longrepr": None},
            NoBase("broken", "the test fails at main: without a word"),
        ),
    ],
)
def test_what_hindered_a_test(report: dict[str, object], expected: NoBase) -> None:
    """A marker that skips is a wish of the base; all that depends on conditions is not."""
    assert why_failed(problem_of(report), "main") == expected


def test_the_place_is_in_the_project() -> None:
    """Not in a library that it calls."""
    entries = [
        {"data": {"reprfileloc": {"path": path, "lineno": line}}}
        for path, line in (("tests/test_a.py", 3), ("model.py", 7), ("lib/site-packages/n.py", 9))
    ]
    crash = {"path": "lib/site-packages/n.py", "lineno": 9, "message": "OSError: no\nmore"}
    report = {"longrepr": {"reprcrash": crash, "reprtraceback": {"reprentries": entries}}}

    assert problem_of(report).line == "OSError: no (model.py:7)"


def test_last_words() -> None:
    """Of a crash its beginning; of all else the end."""
    assert last_words("a\nb\nc\nd\nExtension modules: x") == "\n    b\n    c\n    d"
    crash = "a\nFatal Python error: Aborted\n\nThread 1\n  f\n  g\n  h\n  i"
    shown = ("Fatal Python error: Aborted", "Thread 1", "  f", "  g", "  h")
    assert last_words(crash) == "".join(f"\n    {line}" for line in shown)
    assert last_words("") == ""


@pytest.mark.parametrize(
    ("reason", "verdict", "broken"),
    [
        ("absent", Verdict.NEW, False),
        ("skipped", Verdict.INCONCLUSIVE, False),
        ("broken", Verdict.INCONCLUSIVE, True),
    ],
)
def test_verdicts_without_a_base(reason: str, verdict: Verdict, broken: bool) -> None:  # noqa: FBT001
    """Relative budgets are NEW or open, also where the brief load has no value; others stay."""
    texts = ("throughput >= baseline", "p95 <= baseline", "p99 <= 1s", "errors == 0")
    measurement = make_measurement(refused={"p95": "too few", "p99": "too few"})
    judgements = (
        make_judgement(Verdict.NEW),
        make_judgement(Verdict.INVALID, metric="p95", lasting=True),
        make_judgement(Verdict.INVALID, metric="p99", lasting=True),
        make_judgement(metric="errors"),
    )

    judged = judged_without_base(
        judgements,
        tuple(map(parse_budget, texts)),
        measurement,
        NoBase(reason, "why"),  # type: ignore[arg-type]
    )

    assert [one.verdict for one in judged] == [verdict, verdict, Verdict.INVALID, Verdict.PASS]
    assert [one.base_broken for one in judged] == [broken, broken, False, False]
    assert [one.reason for one in judged] == ["why", "why", "", ""]
