"""Find what the user names on the command line: a report, a run, a branch or a commit."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from pytest_dlperf._command import add_rootdir, rootdir
from pytest_dlperf.config.option_values import HISTORY_VARIABLE, chosen_history
from pytest_dlperf.errors import UsageError
from pytest_dlperf.git import git, in_repository, why_no_commit
from pytest_dlperf.history.entries import Query, baseline_of
from pytest_dlperf.history.sources import Source, committed, source_of_report
from pytest_dlperf.history.store import open_history
from pytest_dlperf.history.url import default_url, parse_url
from pytest_dlperf.report.hints import COMPARABLE
from pytest_dlperf.report.json_report import UNREADABLE, damaged, read_report
from pytest_dlperf.results.baseline import MOST_SESSIONS
from pytest_dlperf.results.baseline_session import short
from pytest_dlperf.results.environment import Environment, MachineClass

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection
    from types import TracebackType

    from pytest_dlperf.history.entries import Entry
    from pytest_dlperf.history.store import History

_LATEST: Final = "latest"
_HASH: Final = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_PREFIX: Final = re.compile("[0-9a-f]{4,63}")
_LISTED: Final = 5  # names in a message


def add_history_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--history`, `--rootdir` and `--machine`."""
    parser.add_argument(
        "--history",
        metavar="URL",
        help=f"the database; default: ${HISTORY_VARIABLE}, or else the SQLite file in .dlperf",
    )
    add_rootdir(parser)
    parser.add_argument("--machine", metavar="SLUG", help="only what this machine class measured")


class Reader:
    """Reads sources; opens the history on first use and closes it at the end of the context.

    Args:
        given: parsed arguments of `add_history_arguments`.
    """

    def __init__(self, given: argparse.Namespace) -> None:
        self.root = rootdir(given)
        self.machine: str | None = given.machine
        variable = os.environ.get(HISTORY_VARIABLE)
        url = chosen_history(given.history, "--history", variable)
        self._url = url or default_url(self.root)
        self._opened: History | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            self._opened.close()

    @cached_property
    def history(self) -> History:
        """The opened history.

        Raises:
            UsageError: if it does not exist.
            HistoryError: if it cannot be read.
        """
        database = parse_url(self._url)
        if isinstance(database, Path) and not database.exists():
            # Opening would create it.
            raise UsageError(
                f"there is no history at {database}",
                "every run of pytest that measures writes it; or name another one: --history URL",
            )
        self._opened = open_history(self._url)
        return self._opened

    def source(self, name: str, text: str, *, accepted: bool) -> Source:
        """The source of a name: `latest`, a report's file, a branch, or a commit.

        A branch of the history takes precedence over a commit, unless it is a full hash.

        Args:
            name: the name.
            text: part of the titles of the measurements to read.
            accepted: read only those measurements of a branch that may be a baseline.

        Raises:
            UsageError: if it names nothing that was measured.
            HistoryError: if the history cannot be read.
        """
        if not name.strip():
            raise UsageError(
                f"{name!r} is no name: the variable that it comes from may be empty",
                f"name what to compare: {COMPARABLE}; {self._known()}",
            )
        if name.endswith(".json"):
            return _with(self._file(name), text)
        if name == _LATEST:
            return _with(self._latest(), text)
        if not _HASH.fullmatch(name) and self._is_branch(name):
            return _with(self._branch(name, text, accepted=accepted), text)
        commit = self._commit_of(name)
        if commit:
            return _with(self._commit(name, commit), text)
        if _is_file(name):
            return _with(self._file(name), text)
        refused = not git(self.root, "rev-parse", "--git-dir") and in_repository(self.root)
        raise UsageError(
            f"{name} is no branch, commit or run that was measured: there is no such name in "
            f"{self.history.place}, nor in git",
            f"{why_no_commit(self.root)}\n  {self._known()}" if refused else self._known(),
        )

    def _file(self, name: str) -> Source:
        path = Path(name)
        report = read_report(path)
        try:
            machine = MachineClass.from_json(report.content["machine"])
            environment = Environment.from_json(report.content["environment"])
            commit = str(report.content["commit"])
        except UNREADABLE as error:
            raise damaged(path, error) from error
        if self.machine not in {None, machine.slug}:
            raise UsageError(f"{name} was measured on {machine.slug}, not on {self.machine}")
        return source_of_report(name, report.records, machine, environment, commit)

    def _latest(self) -> Source:
        runs = self.history.runs(Query(machine=self.machine, limit=1))
        if not runs:
            where = f" on {self.machine}" if self.machine else ""
            raise UsageError(f"{self.history.place} has no run{where}", self._known())
        return Source(_LATEST, "run", self.history.entries(Query(run=runs[0].key)))

    def _is_branch(self, name: str) -> bool:
        return bool(name and self.history.runs(Query(branch=name, limit=1)))

    def _branch(self, name: str, text: str, *, accepted: bool) -> Source:
        query = Query(branch=name, machine=self.machine, acceptable=accepted)
        entries: list[Entry] = []
        keys = self.history.measurements(query)
        titles = dict.fromkeys(key.title for key in keys)
        if titles and not any(text in title for title in titles):
            raise _no_test(name, text, titles)
        for key in keys:
            if text in key.title:
                entries += self._sessions(
                    replace(query, test=key.test, name=key.name, machine=key.machine.slug)
                )
        entries.sort(key=lambda entry: entry.run.began, reverse=True)
        return self._checked(Source(name, "branch", tuple(entries)))

    def _sessions(self, query: Query) -> list[Entry]:
        """The newest entries of a measurement, at least as many as a baseline may have.

        Entries of uncommitted code are left out unless they were accepted as a change.
        """
        limit = MOST_SESSIONS + 1  # one may be shared with the other side of the comparison
        while True:
            entries = self.history.entries(replace(query, limit=limit))
            kept = [entry for entry in entries if entry.renews or committed(entry.run)]
            accepted = baseline_of(kept, MOST_SESSIONS)
            enough = accepted is not None and len(accepted.sessions) == MOST_SESSIONS
            if enough or len(entries) < limit or any(entry.renews for entry in kept):
                # With those before an accepted change, which the other side may be.
                return kept
            limit *= 4

    def _commit_of(self, name: str) -> str:
        """The full hash; empty if git and the history know no such commit."""
        if _HASH.fullmatch(name):
            return name
        commit = git(
            self.root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
        )
        if commit or not _PREFIX.fullmatch(name):
            return commit
        # A shallow clone may lack a commit that the history has.
        hashes = {run.revision.commit.rstrip("+") for run in self.history.runs(Query())}
        matching = sorted(commit for commit in hashes if commit.startswith(name))
        if len(matching) > 1:
            raise UsageError(
                f"{name} is the beginning of {len(matching)} commits in {self.history.place}",
                _first(matching),
            )
        return matching[0] if matching else ""

    def _commit(self, name: str, commit: str) -> Source:
        query = Query(commits=(commit,), machine=self.machine)
        entries = self.history.entries(query)
        if not entries and self.history.runs(Query(commits=(f"{commit}+",), limit=1)):
            raise UsageError(
                f"{name} ({short(commit)}) was measured with uncommitted changes only",
                "measure it without: git stash, and run pytest again",
            )
        return self._checked(Source(name, "commit", entries))

    def _checked(self, source: Source) -> Source:
        if source.entries:
            return source
        where = f" on {self.machine}" if self.machine else ""
        raise UsageError(
            f"{source.given} is a {source.kind} that was not measured{where}: "
            f"{self.history.place} has no run of it that could be compared",
            self._known(),
        )

    def _known(self) -> str:
        """A hint that lists what was measured."""
        runs = self.history.runs(Query(limit=1000))
        branches = dict.fromkeys(run.revision.branch for run in runs if run.revision.branch)
        commits = dict.fromkeys(short(run.revision.commit) for run in runs if committed(run))
        machines = dict.fromkeys(run.machine.slug for run in runs)
        parts = [
            f"{what}: {_first(names)}"
            for what, names in (
                ("branches", branches),
                ("commits", commits),
                ("machine classes", machines),
            )
            if names
        ]
        return "; ".join(parts) or "nothing was measured yet: run pytest"


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # for example, a name that is too long
        return False


def _with(source: Source, text: str) -> Source:
    """The source's measurements whose title contains a text."""
    entries = tuple(entry for entry in source.entries if text in entry.key.title)
    if not entries:
        titles = dict.fromkeys(entry.key.title for entry in source.entries)
        raise _no_test(source.given, text, titles)
    return replace(source, entries=entries)


def _no_test(name: str, text: str, titles: Collection[str]) -> UsageError:
    return UsageError(f"{name} has no test with {text!r:.80} in its name", _first(titles))


def _first(names: Collection[str]) -> str:
    more = ", ..." if len(names) > _LISTED else ""
    return f"{', '.join(list(names)[:_LISTED])}{more}"
