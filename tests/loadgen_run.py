"""Run MLPerf LoadGen once on a target that answers at once.

LoadGen keeps its log in globals and writes it into files, so each run has a process of its own:

    python loadgen_run.py FOLDER SCENARIO SETTING=NUMBER ...

`FOLDER` gets the logs; each setting is a field of LoadGen's `TestSettings`.
"""

from __future__ import annotations

import sys

import mlperf_loadgen as loadgen

ROWS = 64


def answer_at_once(samples: list[loadgen.QuerySample]) -> None:
    """A system under test without any work."""
    loadgen.QuerySamplesComplete(
        [loadgen.QuerySampleResponse(sample.id, 0, 0) for sample in samples]
    )


def main(folder: str, scenario: str, *assignments: str) -> None:
    """Run and write the logs."""
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, scenario)
    settings.mode = loadgen.TestMode.PerformanceOnly
    for assignment in assignments:
        name, _, number = assignment.partition("=")
        setattr(settings, name, type(getattr(settings, name))(number))
    logs = loadgen.LogSettings()
    logs.enable_trace = True
    logs.log_output = loadgen.LogOutputSettings()
    logs.log_output.outdir = folder
    logs.log_output.copy_summary_to_stdout = False
    system = loadgen.ConstructSUT(answer_at_once, lambda: None)
    library = loadgen.ConstructQSL(ROWS, ROWS, lambda _: None, lambda _: None)
    loadgen.StartTestWithLogSettings(system, library, settings, logs)
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(system)


if __name__ == "__main__":
    main(*sys.argv[1:])
