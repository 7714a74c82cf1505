"""The `dlperf` fixture: measure, judge, record, and raise if a budget is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_dlperf.config.budgets import parse_limit
from pytest_dlperf.config.options import Clients, Task, from_call
from pytest_dlperf.data.dataset import as_data, read_data
from pytest_dlperf.duel.in_process import DuelCandidate, duel_candidates
from pytest_dlperf.duel.questions import DEFAULT_METRICS
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.load.scenarios import ClosedLoop, Server
from pytest_dlperf.measure.evaluator import Evaluation
from pytest_dlperf.measure.max_rate import rate_search
from pytest_dlperf.measure.measure import ready
from pytest_dlperf.measure.sweep import CLIENTS, checked_clients, measure_sweep
from pytest_dlperf.metrics import LOAD_METRICS, RATE_METRICS, TRAIN_METRICS
from pytest_dlperf.pytest_plugin.measurements import Measurements, fail_or_warn, without_our_frames
from pytest_dlperf.results.record import Record
from pytest_dlperf.training.job import placed_by, training_job
from pytest_dlperf.training.train import training

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.data.dataset import Data
    from pytest_dlperf.judge.error_rates import ErrorRates
    from pytest_dlperf.load.answer_layout import Output
    from pytest_dlperf.load.scenarios import Scenario
    from pytest_dlperf.load.serving import Serving
    from pytest_dlperf.measure.sweep import Sweep
    from pytest_dlperf.pytest_plugin.session import DlperfSession
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.training.recipe import Recipe
    from pytest_dlperf.tuning.configuration import Knob, Setup
    from pytest_dlperf.tuning.plan import TuningPlan
    from pytest_dlperf.tuning.result import Tuned

_BY_LOAD: Final = "measure it with dlperf(...)"
_BY_RATE: Final = "measure it with dlperf.max_rate(...)"


class Dlperf:
    """Measures targets on behalf of one test.

    Args:
        test: pytest's node id.
        plan: the test's marker and the options, merged.
        session: the evaluator, instruments and random numbers.
        tuning_plan: of its `dlperf_sweep` marker; None without one.
    """

    def __init__(
        self, test: str, plan: Plan, session: DlperfSession, tuning_plan: TuningPlan | None
    ) -> None:
        self._test = test
        self._plan = plan
        self._session = session
        self._tuning_plan = tuning_plan
        self.tuned: list[Tuned] = []
        self._measurements = Measurements(test, session)
        self._swept = False

    @property
    def measured(self) -> bool:
        """Whether anything was measured yet."""
        return self._swept or bool(self._measurements)

    @without_our_frames
    def __call__(  # noqa: PLR0913 - each overrides one argument of the marker
        self,
        target: object,
        data: object,
        *,
        scenario: Scenario | None = None,
        serving: Serving | None = None,
        clients: Clients | None = None,
        task: Task | None = None,
        output: Output | None = None,
        allow_nan: bool | None = None,
        duration: float | str | None = None,
        name: str = "",
    ) -> Measurement:
        """Put a target under load, judge the test's budgets, and return the measurement.

        Args:
            target: a Keras model, a `tf.function`, an object with a method `infer(batch)`, or a
                callable `infer(batch)`: one leading batch axis in and out.
            data: `(inputs, labels)` or an object with `.inputs` and `.labels`, each an array of
                shape `(rows, ...)`, or a dict, list or tuple of such arrays; labels may be None,
                then there is no accuracy and no loss.
            scenario: the traffic; wins over the marker's.
            serving: batching and replicas; wins over the marker's.
            clients: `"threads"` for a callable that takes one row, without the batch axis;
                `"async"` for a coroutine function of one row; wins over the marker's.
            task: `"classification"`, `"binary"`, `"multilabel"` or `"regression"`, where labels
                and answers leave it open; wins over the marker's.
            output: which of several outputs is scored, by its path, such as `"scores"` or
                `"heads.0"`, or a function of all of them; wins over the marker's.
            allow_nan: whether inputs may have values that are not finite; wins over the marker's.
            duration: seconds, or text such as `"5s"`; wins over the marker's.
            name: tells several measurements of one test apart.

        Raises:
            BudgetFailure: if a budget is not held.
            UsageError: if an argument makes no sense.
            DataError: if the data cannot be used.
            TargetError: if the target cannot be called at all.
            BaselineError: if the stored baseline cannot be read.
        """
        __tracebackhide__ = True
        plan = self._plan.override(
            from_call(
                scenario=scenario,
                serving=serving,
                clients=clients,
                task=task,
                output=output,
                allow_nan=allow_nan,
                duration=duration,
            )
        ).limited_to(LOAD_METRICS, "dlperf(...)", _BY_RATE)
        self._measurements.check(name)
        subject = ready(target, self._rows(data, plan), plan, self._session.instruments)
        evaluation = self._session.evaluator.evaluate(subject, plan, self._test, name)
        return self._measurements.conclude(name, evaluation, plan)

    @without_our_frames
    def max_rate(  # noqa: PLR0913 - each overrides one argument of the marker
        self,
        target: object,
        data: object,
        *,
        slo: str,
        serving: Serving | None = None,
        duration: float | str | None = None,
        name: str = "",
    ) -> Measurement:
        """Find the highest rate of Poisson arrivals that holds a limit, and judge it.

        The value of the metric `max_rate` is the highest rate that is proven to hold; its
        interval ends at the lowest that is proven to fail.

        Args:
            target: as for `dlperf(...)`.
            data: as for `dlperf(...)`.
            slo: the limit, a latency that a percentile must not exceed, such as `"p99 <= 10ms"`.
            serving: batching and replicas; wins over the marker's.
            duration: of one window, seconds or text such as `"5s"`; wins over the marker's. It
                is lengthened to 100 times the limit. A rate is tried for one to four windows, all
                rates together for at most twenty.
            name: tells several measurements of one test apart.

        Raises:
            BudgetFailure: if a budget is not held.
            UsageError: if an argument makes no sense.
            DataError: if the data cannot be used.
            TargetError: if the target cannot be called at all, or a call does not return.
            BaselineError: if the stored baseline cannot be read.
        """
        __tracebackhide__ = True
        limit = parse_limit(slo)
        plan = self._plan.override(
            from_call(scenario=Server(1.0), serving=serving, duration=duration)
        ).limited_to(RATE_METRICS, "dlperf.max_rate(...)", _BY_LOAD)
        self._measurements.check(name)
        subject = rate_search(
            target, self._rows(data, plan), plan, self._session.instruments, limit
        )
        evaluation = self._session.evaluator.evaluate(subject, plan, self._test, name)
        return self._measurements.conclude(name, evaluation, plan)

    @without_our_frames
    def train(  # noqa: PLR0913 - what, on what, how, and under which name
        self,
        build: Callable[[], object],
        data: object,
        *,
        test: object = None,
        recipe: Recipe | None = None,
        seeds: int = 1,
        devices: object = None,
        output: Output | None = None,
        name: str = "",
    ) -> Measurement:
        """Train a model, judge the test's budgets, and return the measurement.

        The first step of each batch size, which traces and compiles, counts as `compile_time`
        only; scoring the test rows after each epoch does not count.

        Args:
            build: returns a Keras model that is compiled at least with its loss; called once for
                each seed, with that seed set.
            data: rows to learn from, `(inputs, labels)` or an object with `.inputs` and `.labels`;
                or an object whose `.train` and `.test` are each one of these. Labels of several
                outputs are a dict, list or tuple, as Keras' `fit` takes it.
            test: rows whose answers are scored; by default those that it learns from.
            recipe: how it is trained; what it leaves out is as `build` has it.
            seeds: number of trainings, from the seeds 0, 1, ...; three or more show whether
                accuracy was lost since a baseline that was trained from the same ones.
            devices: `"cpu:0,cpu:1"`, `"gpu"` or `"all"`, or several names: they share each batch.
                A note compares them with the first of them alone.
            output: which of several outputs is scored, by its path or name, or a function of all of
                them; wins over the marker's.
            name: tells several measurements of one test apart.

        Raises:
            BudgetFailure: if a budget is not held.
            UsageError: if an argument makes no sense.
            DataError: if the data cannot be used.
            TargetError: if the model cannot be fitted to the rows.
            TrainingError: if the training diverges, as soon as that is seen.
            BaselineError: if the stored baseline cannot be read.
        """
        __tracebackhide__ = True
        plan = self._plan.override(from_call(output=output)).limited_to(
            TRAIN_METRICS | {"errors"}, "dlperf.train(...)", _BY_LOAD
        )
        self._measurements.check(name)
        job = training_job(build, data, test, recipe, seeds, placed_by(devices, plan))
        if plan.quick:
            plan = plan.only_errors()
        subject = training(job, plan, self._session.instruments)
        evaluation = self._session.evaluator.evaluate(subject, plan, self._test, name)
        return self._measurements.conclude(name, evaluation, plan)

    @without_our_frames
    def duel(  # noqa: PLR0913 - each overrides one argument of the marker
        self,
        base: object,
        candidate: object,
        data: object,
        *,
        scenario: Scenario | None = None,
        serving: Serving | None = None,
        output: Output | None = None,
        duration: float | str | None = None,
        name: str = "",
    ) -> Measurement:
        """Measure two models of this process in turn, and judge the candidate by the base.

        `baseline` in the test's budgets is the base; without a relative budget, throughput, p95
        and accuracy must not be worse.

        Args:
            base: a target, as for `dlperf(...)`.
            candidate: the target that is judged.
            data: for both, as for `dlperf(...)`.
            scenario: the traffic; wins over the marker's.
            serving: batching and replicas; wins over the marker's.
            output: which of several outputs of both is scored; wins over the marker's.
            duration: of the load before the slots, seconds or text such as `"5s"`; wins over the
                marker's.
            name: tells several measurements of one test apart.

        Returns:
            The candidate's measurement.

        Raises:
            BudgetFailure: if a budget is not held.
            UsageError: if an argument makes no sense.
            DataError: if the data cannot be used.
            TargetError: if a target cannot be called at all, or a call does not return.
        """
        __tracebackhide__ = True
        plan = self._plan.override(
            from_call(scenario=scenario, serving=serving, output=output, duration=duration)
        ).limited_to(LOAD_METRICS, "dlperf.duel(...)", _BY_RATE)
        self._measurements.check(name)
        rows = self._rows(data, plan)
        with self._session.evaluator.exclusive():
            record = duel_candidates(
                DuelCandidate(base, rows, plan),
                DuelCandidate(candidate, rows, plan),
                self._session.instruments,
                rates=self._rates_of_duel(plan, name),
                rng=self._session.coins(),
                key=(self._test, name),
            )
        return self._measurements.conclude(name, Evaluation(record, None), plan)

    def _rates_of_duel(self, plan: Plan, name: str) -> ErrorRates:
        """The error rates of each relative budget of a duel, one of the test's measurements.

        A test is counted as one budget at least; where it has none that is relative, the defaults
        share that one.
        """
        rates = self._session.error_rates()
        share = self._session.alpha_spending(self._test).share(name)
        relative = any(budget.relative for budget in plan.budgets)
        return rates.shared(share if relative else share / len(DEFAULT_METRICS))

    @without_our_frames
    def tune(
        self,
        build: Callable[..., object],
        data: object,
        *,
        setup: Setup | None = None,
        knobs: Sequence[Knob | str] | None = None,
        name: str = "",
    ) -> Tuned:
        """Look for a better setup by the objective of `@pytest.mark.dlperf_sweep(...)`.

        Configurations are tried briefly; the best of them are measured in turn with the setup
        without tuning, and one is recommended if it is proven better within every constraint. If
        none is, the test passes all the same, unless the setup without tuning breaks an absolute
        constraint.

        Args:
            build: returns a compiled Keras model; its keyword parameters are what the knobs of
                the model give it.
            data: an object with `.train` and `.test`, each `(inputs, labels)` or an object with
                `.inputs` and `.labels`.
            setup: the setup without tuning; its serving wins over the marker's.
            knobs: to try, or their names; wins over the marker's.
            name: tells several studies of one test apart.

        Raises:
            BudgetFailure: if the recommended setup breaks a constraint.
            UsageError: if an argument makes no sense.
            DataError: if the data cannot be used.
            TargetError: if the setup without tuning cannot be measured.
        """
        __tracebackhide__ = True
        self._measurements.check(name)
        with self._session.evaluator.exclusive():
            tuned, record = self._session.tuner.tune(
                build,
                data,
                self._tuning_plan,
                self._plan,
                test=self._test,
                name=name,
                setup=setup,
                knobs=knobs,
            )
        self.tuned.append(tuned)
        self._measurements.conclude(name, Evaluation(record, None), self._plan)
        return tuned

    @without_our_frames
    def sweep(
        self,
        target: object,
        data: object,
        *,
        clients: Iterable[int] = CLIENTS,
        serving: Serving | None = None,
        duration: float | str | None = None,
    ) -> Sweep:
        """Throughput and latency over the number of clients, and where the curve bends.

        Only budgets on errors are judged, and nothing is recorded.

        Args:
            target: as for `dlperf(...)`.
            data: as for `dlperf(...)`.
            clients: numbers of clients, each a closed loop of its own.
            serving: batching and replicas; wins over the marker's.
            duration: of each load, seconds or text such as `"5s"`; wins over the marker's.

        Raises:
            BudgetFailure: if requests failed.
            UsageError: if an argument makes no sense.
            DataError: if the data cannot be used.
            TargetError: if the target cannot be called at all, or a call does not return.
        """
        __tracebackhide__ = True
        self._measurements.check_machine()
        counts = checked_clients(clients)
        plan = self._plan.override(
            from_call(scenario=ClosedLoop(counts[0]), serving=serving, duration=duration)
        ).only_errors()
        own = {budget.metric.name for budget in self._plan.budgets} - self._plan.run_wide
        self._swept = own <= {"errors"}  # other budgets still wait for a measurement
        rows, instruments = self._rows(data, plan), self._session.instruments
        with self._session.evaluator.exclusive():
            sweep = measure_sweep(target, rows, plan, instruments, clients=counts, test=self._test)
        judgements = judge(sweep.whole, plan.judged, None, self._session.environment(), "")
        record = Record(sweep.whole, judgements, (), quick=plan.quick)
        fail_or_warn(Evaluation(record, None), plan, stacklevel=3)
        return sweep

    def _rows(self, data: object, plan: Plan) -> Data:
        """The data of a call; the progress display counts the rows of a stream."""
        __tracebackhide__ = True
        progress = self._session.progress
        read = read_data if plan.allow_nan else as_data
        return read(data, lambda rows: progress.show(f"reading the data: {rows:,} rows", None))

    def finish(self, *, passed: bool) -> Iterator[Record]:
        """The records of the test once it has ended; see `Measurements.finish`."""
        return self._measurements.finish(passed=passed)
