"""The benchmark harness: rows run, wrong values and failures are told. Nothing timed is asserted."""

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import limits, report, rows
from benchmarks.conductor import Conductor, Measurement, Result, Settings, largest_error
from benchmarks.frameworks import COMPARED
from benchmarks.programs_torch import TorchPrograms

TORCH = importlib.util.find_spec("torch") is not None
FRAMEWORKS = ["lazygrad", *(["torch"] if TORCH else [])]


def settings(**changed):
    return Settings(**{"frameworks": FRAMEWORKS, "rounds": 1, "seconds": 0.001, "threads": 1} | changed)


def test_a_row_runs_in_every_framework_and_is_right(tmp_path, capsys):
    file = tmp_path / "results.json"
    small = ["--rounds", "1", "--seconds", "0.001", "--threads", "1", "--no-limits"]
    command.main(["x + 1", "--peers", "torch", *small, "--json", str(file)])
    told = json.loads(file.read_text())
    assert told["frameworks"] == FRAMEWORKS and [row["name"] for row in told["rows"]] == ["x + 1"]
    (row,) = told["rows"]
    assert set(row["frameworks"]) == set(FRAMEWORKS) and (row["ratio"] is not None) == TORCH
    for found in row["frameworks"].values():
        assert not found["wrong"] and found["failed"] is None and found["error"] <= 1
        assert found["ms"] > 0 and found["first_ms"] > 0 and found["peak_mb"] > 10
        assert len(found["rounds"]) == 1 and len(found["samples"]) >= 1
    printed = capsys.readouterr().out
    assert "x + 1" in printed and "peak memory" in printed
    assert "WRONG" not in printed and "failed" not in printed
    assert TORCH or "torch: not installed, skipped" in printed


def test_every_row_has_a_program_and_the_list_names_it(capsys):
    command.main(["--list"])
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == len(rows.ROWS) == len({row.name for row in rows.ROWS})
    for row, line in zip(rows.ROWS, listed, strict=True):
        assert row.group in rows.GROUPS and row.name in line
        assert callable(getattr(TorchPrograms, row.program))


def test_names_choose_groups_and_rows():
    assert {row.group for row in rows.chosen(["training"])} == {"training"}
    assert [row.name for row in rows.chosen(["MATMUL 64"])] == ["matmul 64"]
    assert rows.chosen([]) == list(rows.ROWS)
    with pytest.raises(ValueError, match="--list"):
        rows.chosen(["no such row"])
    with pytest.raises(SystemExit):
        command.main(["--peers", "nobody"])


WORKER = """
import sys, time, os
from benchmarks import worker
from benchmarks.programs_torch import Operators
right = Operators.add_one
def spoiled(self, x):
    if os.environ.get("XDG_CACHE_HOME", "").endswith("lazygrad"):
        {action}
    return right(self, x)
Operators.add_one = spoiled
worker.serve(sys.argv[1], int(sys.argv[2]))
"""


@pytest.fixture
def spoiled(tmp_path, monkeypatch):
    """Measure `x + 1` with lazygrad doing something else before it."""

    def run(action, **changed):
        (tmp_path / "spoiled_worker.py").write_text(WORKER.format(action=action))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        (row,) = rows.chosen(["x + 1"])
        changed |= {"frameworks": ["lazygrad"], "worker_module": "spoiled_worker"}
        with Conductor(settings(**changed)) as conductor:
            return conductor.run(row)

    return run


def test_wrong_values_are_told(spoiled):
    result = spoiled("x = x * 1.001")
    assert result.measurements["lazygrad"].wrong and result.ratio is None
    text = "\n".join(report.result_lines(result, ["lazygrad"]))
    assert text.count("WRONG") == 2 and "times the tolerance" in text
    assert report.summary_lines([result], ["lazygrad"])[-1].endswith("wrong or fails: 1")


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("raise ValueError('no such thing')", "ValueError: no such thing"),
        ("print('gone', file=sys.stderr); os._exit(3)", "process ended with 3: gone"),
    ],
)
def test_failures_are_told(spoiled, action, reason):
    result = spoiled(action)
    assert result.measurements["lazygrad"].failed == reason
    assert f"failed: {reason}" in "\n".join(report.result_lines(result, ["lazygrad"]))


def test_a_call_that_takes_too_long_is_given_up(spoiled):
    result = spoiled("time.sleep(600)", limit=8.0)
    assert "more than 8 s" in result.measurements["lazygrad"].failed


@pytest.mark.parametrize("process", ["cold", "second"])
def test_first_calls_of_new_processes(process):
    (row,) = rows.chosen(["x + 1"])
    with Conductor(settings(frameworks=["lazygrad"])) as conductor:
        found = conductor.run(replace(row, process=process)).measurements["lazygrad"]
    assert not found.failed and not found.wrong and len(found.samples) == 1 and found.first_ms == found.ms


def test_errors_are_measured_against_the_tolerance():
    right = np.array([1.0, -2.0, np.inf, np.nan])
    assert largest_error([right.astype(np.float32)], [right], 1e-6) == 0
    near = right + np.array([1e-4, 0, 0, 0])
    assert 0 < largest_error([near], [right], 1e-4) < 1 < largest_error([near], [right], 1e-5)
    for wrong in ([1, -2, np.inf, 0], [1, -2, -np.inf, np.nan], [1, np.nan, np.inf, np.nan], [1, -2, np.inf]):
        assert largest_error([np.array(wrong, np.float64)], [right], 1) == np.inf
    assert largest_error([np.array([1, 2])], [np.array([1, 3])], 1) == np.inf
    assert largest_error([], [right], 1) == np.inf


def test_the_ratio_is_the_best_peer_over_lazygrad():
    def took(*times, **more):
        return Measurement(rounds=list(times), samples=list(times), **more)

    measurements = {"lazygrad": took(2.0, 4.0), "torch": took(6.0, 6.0), "jax": took(1.0, 1.0, error=7.0)}
    result = Result(rows.ROWS[0], measurements)
    assert result.best_peer == "torch" and result.ratio == 2 and result.ratio_range == (1.5, 3)
    assert result.ratio_of_fastest == 3
    assert "2.00          3.00     1.50-3.00" in report.result_lines(result, list(measurements))[0]
    assert report.geometric_mean([2, 8]) == pytest.approx(4)
    numbers = {None: "", 0.00123: "0.0012", 0.123: "0.123", 1.234: "1.23", 56.78: "56.8", 1234.4: "1234"}
    assert {value: report.number(value) for value in numbers} == numbers


def test_limits_of_the_machine_are_measured():
    found = limits.measure(threads=1, runs=1, array_bytes=1 << 20)
    assert found.threads == 1 and found.processor and len(found.lines()) == 3
    assert min(found.one_thread_gflops, found.all_threads_gflops, found.read_gbs, found.copy_gbs) > 0


def test_programs_of_peers_are_programs_of_rows():
    known = {row.program for row in rows.ROWS}
    assert known == {name for name in dir(TorchPrograms) if not name.startswith("_")} - {"torch"}
    assert list(COMPARED)[0] == "lazygrad"
