"""Targets that go wrong under load: each ends in a red test that names the cause."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import pytest
from servers import ReceivedRequest, Reply, free_port, http, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from fakes import FakeClock


def text(result: pytest.RunResult) -> str:
    """What the run printed, as one line."""
    return " ".join(line.removeprefix("E").strip() for line in result.outlines)


def test_rows_swapped_in_a_batch(run: Callable[..., pytest.RunResult]) -> None:
    """A target that swaps two rows of a batch is red although its speed is fine."""
    result = run("""
def swaps(batch):
    out = batch.copy()
    if len(out) > 1:
        out[[0, 1]] = out[[1, 0]]
    return out

@pytest.mark.dlperf("p99 <= 10s", **SHORT)
def test_it(dlperf):
    dlperf(swaps, DATA)
""")

    result.assert_outcomes(failed=1)
    said = text(result)
    assert "BudgetFailure: errors == 0, was" in said
    assert re.search(r"error: rows mixed up, .* row \d+ got the answer of row \d+", said)


def test_one_row_in_a_hundred_is_nan(run: Callable[..., pytest.RunResult]) -> None:
    """NaN answers are errors, with the rows that they come from."""
    result = run("""
BAD = INPUTS[[17, 133]]

def sometimes_nan(batch):
    out = batch.copy()
    out[(batch[:, None] == BAD).all(axis=2).any(axis=1)] = np.nan
    return out

@pytest.mark.dlperf("accuracy >= 90%", **SHORT)
def test_it(dlperf):
    dlperf(sometimes_nan, DATA)
""")

    result.assert_outcomes(failed=1)
    said = text(result)
    assert "BudgetFailure: errors == 0, was 1.00 %" in said
    assert re.search(r"error: not finite, .* for rows 17, 133", said)


def test_every_hundredth_call_raises(run: Callable[..., pytest.RunResult]) -> None:
    """Exceptions are errors, counted by type, with the first message."""
    result = run("""
calls = iter(range(10**9))

def raises(batch):
    if next(calls) % 100 == 99:
        raise ConnectionError("the shard is gone")
    return batch.copy()

@pytest.mark.dlperf("p99 <= 10s", **SHORT)
def test_it(dlperf):
    dlperf(raises, DATA)
""")

    result.assert_outcomes(failed=1)
    said = text(result)
    assert "BudgetFailure: errors == 0, was" in said
    assert re.search(r"error: ConnectionError, .*: the shard is gone", said)


def test_a_model_server_that_is_overloaded_at_times(
    run: Callable[..., pytest.RunResult], clock: FakeClock
) -> None:
    """Errors of a server are counted by what it said, and are no Python exceptions to a reader."""

    def answer(asked: ReceivedRequest) -> Reply:
        clock.now += 500_000
        if asked.number % 100 == 99:
            return http({"error": "no worker is free"}, "503 Service Unavailable")
        return http({"predictions": asked.json["instances"]})

    with serve(answer) as server:
        result = run(f"""
@pytest.mark.dlperf("p50 <= 10s", **SHORT)
def test_it(dlperf):
    dlperf(TensorFlowServing("{server.url}", "digits"), DATA)
""")

    result.assert_outcomes(failed=1)
    said = text(result)
    assert "BudgetFailure: errors == 0, was" in said
    assert re.search(r"error: status 503, .*: no worker is free", said)
    assert f"model digits of TensorFlow Serving at {server.url}" in said


def test_a_model_server_that_is_not_there(run: Callable[..., pytest.RunResult]) -> None:
    """The test is red with the URL and what to check, without a traceback of ours."""
    result = run(f"""
def test_it(dlperf):
    dlperf(TensorFlowServing("http://127.0.0.1:{free_port()}", "digits"), DATA)
""")

    result.assert_outcomes(failed=1)
    assert "connection refused: nothing listens at 127.0.0.1:" in text(result)
    result.stdout.no_fnmatch_line("*http_pool.py*")
    result.stdout.no_fnmatch_line("*target.py*")


def test_the_target_sleeps(run: Callable[..., pytest.RunResult]) -> None:
    """A target that waits instead of computing is slow, and the report says that it waits."""
    result = run("""
def sleeps(batch):
    spend(0.02)
    return batch.copy()

@pytest.mark.dlperf("p50 <= 5ms", scenario=ClosedLoop(clients=8), duration="0.5s")
def test_it(dlperf):
    dlperf(sleeps, DATA)
""")

    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines([r".*BudgetFailure: p50 <= 5ms, was \d\d.*ms"])
    assert "the target waits (sleep, I/O, a lock) rather than computes" in text(result)


def test_the_target_hangs(run: Callable[..., pytest.RunResult]) -> None:
    """A call that never returns ends the run at its time limit; its thread does not go on."""
    result = run(
        """
calls = iter(range(10**9))

def hangs(batch):
    if next(calls) == 300:
        while True:
            spend(0.01)
    return batch.copy()

@pytest.mark.dlperf(call_timeout="0.5s", **SHORT)
def test_it(dlperf):
    dlperf(hangs, DATA)
""",
        "--dlperf-quick",
    )

    result.assert_outcomes(failed=1)
    said = text(result)
    assert "BudgetFailure: INVALID: errors == 0, was" in said
    assert "the load was cut short" in said
    assert re.search(
        r"error: no answer, .* had not returned after 500 ms; it was in "
        r"test_module.py:\d+ hangs",
        said,
    )
    for thread in threading.enumerate():
        if thread.name.startswith("dlperf"):
            thread.join(60)
            assert not thread.is_alive()


def test_errors_within_their_budget_pass(run: Callable[..., pytest.RunResult]) -> None:
    """A budget on errors replaces the rule that there must be none."""
    result = run("""
def sometimes_nan(batch):
    out = batch.copy()
    out[(batch == INPUTS[17]).all(axis=1)] = np.nan
    return out

@pytest.mark.dlperf("errors <= 5%", **SHORT)
def test_it(dlperf):
    dlperf(sometimes_nan, DATA)
""")

    result.assert_outcomes(passed=1)


def test_a_target_that_changes_its_input(run: Callable[..., pytest.RunResult]) -> None:
    """The batch is read-only: changing it is an error of the target, not of later requests."""
    result = run("""
def in_place(batch):
    batch /= 2
    return batch

def test_it(dlperf):
    dlperf(in_place, DATA)
""")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*failed on its first call*read-only*"])


def test_bad_data_names_the_row(run: Callable[..., pytest.RunResult]) -> None:
    """Data with NaN is refused before anything is measured, without a traceback of ours."""
    result = run("""
def test_it(dlperf):
    bad = INPUTS.copy()
    bad[42, 1] = np.nan
    dlperf(identity, (bad, LABELS))
""")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*DataError: inputs: row 42 has a value that is not finite*"])
    result.stdout.no_fnmatch_line("*data/dataset.py*")


def test_budgets_that_are_never_judged_are_red(run: Callable[..., pytest.RunResult]) -> None:
    """A test with budgets that forgets to measure does not pass."""
    result = run("""
@pytest.mark.dlperf("p99 <= 10s")
def test_it(dlperf):
    pass
""")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*dlperf(...) measured nothing*"])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("answer", "is a coroutine function clients='async' calls it"),
        ("Model", "is a class"),
    ],
)
def test_what_only_looks_like_a_target(
    run: Callable[..., pytest.RunResult], target: str, message: str
) -> None:
    """A coroutine function and a class can be called, but give no answers."""
    result = run(f"""
async def answer(batch):
    return batch

class Model:
    def infer(self, batch):
        return batch

def test_it(dlperf):
    dlperf({target}, DATA)
""")

    result.assert_outcomes(failed=1)
    assert message in text(result)


def test_a_name_is_a_text(run: Callable[..., pytest.RunResult]) -> None:
    """Anything else would never be found again in a baseline."""
    result = run("""
def test_it(dlperf):
    dlperf(identity, DATA, name="x" * 101, **SHORT)
""")

    result.assert_outcomes(failed=1)
    assert "expected a text of at most 100 characters" in text(result)


def test_the_fixture_can_be_asked_for_late(run: Callable[..., pytest.RunResult]) -> None:
    """`request.getfixturevalue` works as for any fixture."""
    result = run("""
def test_it(request):
    dlperf = request.getfixturevalue("dlperf")
    assert dlperf(identity, DATA, **SHORT).accuracy == 1.0
""")

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"test_it .*PASS"])


def test_empty_columns_are_explained(run: Callable[..., pytest.RunResult]) -> None:
    """Why a percentile is missing is said even if no budget asks for it."""
    result = run("""
def slow(batch):
    spend(0.01)
    return batch.copy()

def test_it(dlperf):
    dlperf(slow, DATA, scenario=SingleStream(), duration=0.3)
""")

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"  p99: \d+ requests, p99 needs 662: lengthen duration="])
