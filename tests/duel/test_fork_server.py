"""What a fork server imports, when it refuses to fork, and which variables give a fork up."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_dlperf.duel.fork_server import (
    FRAMEWORKS,
    ForkedProcess,
    _adopt_orphans,
    frameworks_in,
)
from pytest_dlperf.duel.fork_server_process import (
    EnvironmentWatch,
    is_read_at_import,
    prepare,
)
from pytest_dlperf.duel.shared_imports import unforkable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_frameworks_that_the_project_imports() -> None:
    """In the order in which they are worth importing, whatever else stands in a line."""
    sources = [
        b"import os\nfrom keras import layers\n",
        b"def f():\n    import numpy as np, torch_geometric\n",
        b"# import jax\nimport torchvision\nfrom tensorflow.python import x\n",
    ]

    assert frameworks_in(sources) == ("numpy", "tensorflow", "keras")
    assert frameworks_in([]) == ()


def module(name: str, **attributes: Any) -> dict[str, ModuleType]:  # noqa: ANN401 - any attribute
    """A module that has been imported."""
    made = ModuleType(name)
    vars(made).update(attributes)
    return {name: made}


@pytest.mark.parametrize(
    ("modules", "why"),
    [
        (module("numpy", __file__="/usr/lib/numpy/__init__.py"), ""),
        (module("model", __file__="/project/src/model.py"), "model is a module of the project"),
        (module("near", __file__="/project2/near.py"), ""),
        (module("numpy", __file__="/project/.venv/lib/python3.12/site-packages/numpy/core.py"), ""),
        (module("pytest_dlperf.errors", __file__="/project/pytest_dlperf/errors.py"), ""),
        (module("namespace", __file__=None), ""),
        (
            module("tensorflow.python.eager.context", _context=SimpleNamespace(_initialized=True)),
            "importing has set up TensorFlow's devices",
        ),
        (module("tensorflow.python.eager.context", _context=None), ""),
        (module("jax._src.xla_bridge", _backends={"cpu": 1}), "importing has set up JAX's devices"),
        (module("jax._src.xla_bridge", _backends={}), ""),
        (
            module("torch.cuda", is_initialized=lambda: True),
            "importing has set up PyTorch's CUDA devices",
        ),
        (module("torch.cuda", is_initialized=lambda: False), ""),
    ],
)
def test_modules_that_forbid_a_fork(modules: dict[str, ModuleType], why: str) -> None:
    """Those of the project differ between the sides, and devices do not survive a fork."""
    assert unforkable(modules, "/project") == why


def test_threads_and_tracers_forbid_a_fork() -> None:
    """A fork has neither the threads, nor may it be slower than a new process."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="pool", daemon=True)
    thread.start()
    try:
        assert unforkable({}, "/project") == "importing has started threads: pool"
    finally:
        end.set()
        thread.join()
    before = sys.getprofile()
    sys.setprofile(lambda *_: None)
    try:
        assert unforkable({}, "/project") == "Python code is traced or profiled"
    finally:
        sys.setprofile(before)


def test_what_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not installed is left out; what fails is the reason for not forking."""
    (tmp_path / "broken_framework.py").write_text("raise RuntimeError('no driver')")
    (tmp_path / "half_framework.py").write_text("import not_there")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("gc.freeze", lambda: None)
    # Earlier tests of this process may have set up TensorFlow's.
    monkeypatch.setattr("pytest_dlperf.duel.shared_imports._device_of", lambda _: "")

    assert prepare(["no_such_framework"], "/project") == ""
    why = "broken_framework cannot be imported: RuntimeError: no driver"
    assert prepare(["broken_framework"], "/project") == why
    why = "half_framework cannot be imported: No module named 'not_there'"
    assert prepare(["half_framework"], "/project") == why


@pytest.fixture
def changes() -> Iterator[list[str]]:
    """Variables that a watch has noticed."""
    noticed: list[str] = []
    watch = EnvironmentWatch(["keras", "tensorflow"], noticed.append)
    yield noticed
    watch.end()


def test_variables_that_frameworks_read(
    changes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new value, or none any more; not the same value again, nor what nobody reads at import."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setenv("MY_VARIABLE", "1")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    assert changes == ["KERAS_BACKEND", "KERAS_BACKEND"]


def test_variables_that_were_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any that a module may read, but not pytest's own, and none that keeps its value."""
    monkeypatch.setenv("KEPT", "1")
    watch = EnvironmentWatch([], pytest.fail)
    try:
        for name in ("KEPT", "PYTEST_CURRENT_TEST", "TF_CPP_MIN_LOG_LEVEL", "MY_VARIABLE"):
            monkeypatch.setenv(name, "1")
        monkeypatch.delenv("KEPT")
    finally:
        watch.end()
    assert watch.changed == {"MY_VARIABLE", "KEPT"}


def test_the_watch_ends() -> None:
    """Afterwards variables are set as before."""
    put = os.putenv
    watch = EnvironmentWatch([], pytest.fail)
    assert os.putenv is not put
    watch.end()
    assert os.putenv is put


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("XLA_FLAGS", {"tensorflow", "jax"}),
        ("CUDA_VISIBLE_DEVICES", {"tensorflow", "jax", "torch"}),
        ("OMP_NUM_THREADS", {"numpy"}),
        ("TF_NUM_INTRAOP_THREADS", {"tensorflow"}),
        ("JAX_PLATFORMS", {"jax"}),
        ("TORCH_LOGS", {"torch"}),
        ("PYTEST_CURRENT_TEST", set()),
        ("TF_CPP_MIN_LOG_LEVEL", set()),
    ],
)
def test_who_reads_a_variable(name: str, modules: set[str]) -> None:
    """By its beginning; what is not imported has read nothing."""
    assert {module for module in FRAMEWORKS if is_read_at_import(name, {module})} == modules


def test_orphans_of_a_group_that_was_killed_are_reaped() -> None:
    """Also those that are still ending when their leader has ended."""
    _adopt_orphans(1)
    try:
        program = ["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 600 & done; exit 3"]
        leader = os.posix_spawnp("sh", program, os.environ, setsid=True)
        os.waitid(os.P_PID, leader, os.WEXITED | os.WNOWAIT)
        os.killpg(leader, signal.SIGKILL)

        assert ForkedProcess(leader).wait() == 3

        with pytest.raises(ChildProcessError):
            os.waitpid(-leader, os.WNOHANG)
    finally:
        _adopt_orphans(0)
