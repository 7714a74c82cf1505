"""Targets that go wrong under load: each ends in a red test that names the cause."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import pytest
from plugin_projects import assert_no_frame_of_ours, measuring, text
from servers import ReceivedRequest, Reply, free_port, http, serve

if TYPE_CHECKING:
    from fakes import FakeClock
    from plugin_projects import Run


SWAPS = """
def target(batch):
    spend(200e-6)
    out = batch.copy()
    if len(out) > 1:
        out[[0, 1]] = out[[1, 0]]
    return out
"""
SOMETIMES_NAN = """
BAD = INPUTS[[17, 133]]

def target(batch):
    spend(200e-6)
    out = batch.copy()
    out[(batch[:, None] == BAD).all(axis=2).any(axis=1)] = np.nan
    return out
"""
SOMETIMES_RAISES = """
calls = iter(range(10**9))

def target(batch):
    spend(200e-6)
    if next(calls) % 100 == 99:
        raise ConnectionError("the shard is gone")
    return batch.copy()
"""


@pytest.mark.parametrize(
    ("source", "measured", "error"),
    [
        (SWAPS, "", r"rows mixed up, .* row \d+ got the answer of row \d+"),
        (SOMETIMES_NAN, r" 0\.3\d %", "not finite, .* for rows 17, 133"),
        (SOMETIMES_RAISES, "", "ConnectionError, .*: the shard is gone"),
    ],
)
def test_wrong_answers(run: Run, source: str, measured: str, error: str) -> None:
    """Swapped rows, NaN and exceptions are errors of different kinds, though the speed is fine."""
    marker = '"p99 <= 10s", "accuracy >= 50%", **SHORT'
    result = run(source + measuring(marker, "dlperf(target, DATA)"))

    result.assert_outcomes(failed=1)
    assert re.search(f"BudgetFailure: errors == 0, was{measured}", text(result))
    assert re.search(f"error: {error}", text(result))


def test_errors_within_their_budget_pass(run: Run) -> None:
    """A budget on errors replaces the rule that there must be none."""
    source = SOMETIMES_NAN + measuring('"errors <= 5%", **SHORT', "dlperf(target, DATA)")

    run(source).assert_outcomes(passed=1)


def test_a_model_server_that_is_overloaded_at_times(run: Run, clock: FakeClock) -> None:
    """Errors of a server are counted by what it answered, not shown as Python exceptions."""

    def answer(request: ReceivedRequest) -> Reply:
        clock.now += 500_000
        if request.number % 100 == 99:
            return http({"error": "no worker is free"}, "503 Service Unavailable")
        return http({"predictions": request.json["instances"]})

    with serve(answer) as server:
        call = f'dlperf(TensorFlowServing("{server.url}", "digits"), DATA)'
        result = run(measuring('"p50 <= 10s", **SHORT', call))

    result.assert_outcomes(failed=1)
    assert "BudgetFailure: errors == 0, was" in text(result)
    assert re.search(r"error: status 503, .*: no worker is free", text(result))
    assert f"model digits of TensorFlow Serving at {server.url}" in text(result)


def test_a_token_is_stored_and_shown_nowhere(run: Run, pytester: pytest.Pytester) -> None:
    """Neither in the terminal, nor in a report, a baseline or the history."""
    token = "s3cr3t-t0ken"  # noqa: S105 - of this test
    headers = {"Host": "models.example", "Authorization": f"Bearer {token}"}

    def answer(request: ReceivedRequest) -> Reply:
        if request.number % 100 == 99:
            return http({"error": request.headers["authorization"]}, "401 Unauthorized")
        return http({"predictions": request.json["instances"]})

    with serve(answer) as server:
        call = f'dlperf(TensorFlowServing("{server.url}", "digits", headers=HEADERS), DATA)'
        source = f"from secrets_of_ours import HEADERS\n{measuring('**SHORT', call)}"
        pytester.makepyfile(secrets_of_ours=f"HEADERS = {headers}")
        options = ("--dlperf-json=report.json", "--dlperf-update=all", "--junitxml=junit.xml")
        result = run(source, *options, "--dlperf-history=sqlite:///history.sqlite")

    assert "error: status 401" in text(result)
    assert token not in text(result)
    kept = [path for path in pytester.path.rglob("*") if path.is_file()]
    assert {"report.json", "history.sqlite"} <= {path.name for path in kept}
    holders = {path.name for path in kept if token.encode() in path.read_bytes()}
    assert {name.partition(".")[0] for name in holders} == {"secrets_of_ours"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            'TensorFlowServing("http://127.0.0.1:{port}", "digits"), DATA',
            "connection refused: nothing listens at 127.0.0.1:",
        ),
        ("answer, DATA", "is a coroutine function clients='async' calls it"),
        ("identity, DATA, clients='async'", "is no coroutine function"),
        ("Model, DATA", "is a class"),
        ("in_place, DATA", "read-only"),  # an error of the target, not of later requests
        ("identity, (BAD, LABELS)", "DataError: inputs: row 42 has a value that is not finite"),
        ('identity, DATA, name="x" * 101', "expected a text of at most 100 characters"),
        ("identity, DATA, name='a'); dlperf(identity, DATA, name='a'", "tell them apart"),
    ],
)
def test_calls_that_cannot_be_measured(run: Run, call: str, message: str) -> None:
    """The test is red with what was wrong, without a traceback of ours."""
    result = run(
        """
BAD = INPUTS.copy()
BAD[42, 1] = np.nan

async def answer(batch):
    return batch

class Model:
    def infer(self, batch):
        return batch

def in_place(batch):
    batch /= 2
    return batch
"""
        + measuring(call=f"dlperf({call.format(port=free_port())})")
    )

    result.assert_outcomes(failed=1)
    assert message in text(result)
    assert_no_frame_of_ours(result)


def test_the_target_sleeps(run: Run) -> None:
    """A target that waits instead of computing is slow, and the report says that it waits."""
    result = run(
        """
def sleeps(batch):
    spend(0.02)
    return batch.copy()
"""
        + measuring('"p50 <= 5ms", **SHORT', "dlperf(sleeps, DATA, duration='0.5s')")
    )

    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines([r".*BudgetFailure: p50 <= 5ms, was \d\d.*ms"])
    assert "the target waits (sleep, I/O, a lock) rather than computes" in text(result)


def test_the_target_hangs(run: Run) -> None:
    """A call that never returns ends the run at its time limit, and its thread ends."""
    result = run(
        """
calls = iter(range(10**9))

def hangs(batch):
    if next(calls) == 300:
        while True:
            spend(0.01)
    return batch.copy()
"""
        + measuring('call_timeout="0.5s", **SHORT', "dlperf(hangs, DATA)"),
        "--dlperf-quick",
    )

    result.assert_outcomes(failed=1)
    assert "BudgetFailure: INVALID: errors == 0, was" in text(result)
    assert "the load was cut short" in text(result)
    assert re.search(
        r"error: no answer, .* had not returned after 500 ms; it was in test_module.py:\d+ hangs",
        text(result),
    )
    for thread in threading.enumerate():
        if thread.name.startswith("dlperf"):
            thread.join(60)
            assert not thread.is_alive()


def test_budgets_that_are_never_judged_are_red(run: Run) -> None:
    """A test with budgets that forgets to measure does not pass."""
    result = run(measuring('"p99 <= 10s"', "pass"))

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*dlperf(...) measured nothing*"])


def test_the_fixture_can_be_requested_late(run: Run) -> None:
    """`request.getfixturevalue` works as for any fixture."""
    result = run("""
def test_it(request):
    dlperf = request.getfixturevalue("dlperf")
    assert dlperf(identity, DATA, **SHORT).accuracy == 1.0
""")

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"test_it .*PASS"])


@pytest.mark.parametrize(
    ("budget", "outcomes", "lines"),
    [
        ("", {"passed": 1}, [r"  p99: \d+ requests, p99 needs 662: lengthen duration="]),
        (
            '"p99.9 <= 1s", ',
            {"failed": 1},
            [r".*BudgetFailure: INVALID: p99.9 <= 1s", r".*p99.9: \d+ requests, p99.9 needs 6636"],
        ),
    ],
)
def test_too_few_requests(
    run: Run, budget: str, outcomes: dict[str, int], lines: list[str]
) -> None:
    """A percentile without enough requests is left out with the reason; its budget is INVALID."""
    result = run(
        """
def slow(batch):
    spend(0.01)
    return batch.copy()
"""
        + measuring(f'{budget}scenario=SingleStream(), duration="0.3s"', "dlperf(slow, DATA)")
    )

    result.assert_outcomes(**outcomes)
    result.stdout.re_match_lines(lines)
