"""Random programs and random graphs give the same values in every way of running them.

`--random-examples=N` runs N examples of each test instead of the few of CI, drawn anew at every run.
"""

from __future__ import annotations

from typing import Any

import pytest
from conftest import COMPILING
from hypothesis import HealthCheck, given, settings
from random_moves import programs
from random_nodes import Graph, check_graph, graphs, run_graph
from random_programs import MODES, Program, check_modes, check_pytorch

from lazygrad import config


def need_opencl() -> None:
    if "CL" not in COMPILING:
        pytest.skip("no OpenCL platform")


def drawn(check: Any, strategy: Any, request: pytest.FixtureRequest, few: int) -> None:
    """Run a check on examples of a strategy."""
    more = request.config.getoption("--random-examples")
    profile = settings(
        max_examples=more or few,
        derandomize=not more,
        database=None,
        deadline=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    profile(given(strategy)(check))()


def test_programs_on_the_cpu(request: pytest.FixtureRequest) -> None:
    def check(program: Program) -> None:
        check_modes(program, "CPU", "CPU NOOPT")

    drawn(check, programs(24), request, 100)


def test_programs_on_opencl(request: pytest.FixtureRequest) -> None:
    need_opencl()

    def check(program: Program) -> None:
        check_modes(program, "CL")

    drawn(check, programs(24), request, 15)


def test_programs_beside_pytorch(request: pytest.FixtureRequest) -> None:
    torch = pytest.importorskip("torch")
    ran = []

    def check(program: Program) -> None:
        ran.append(check_pytorch(program, torch))

    drawn(check, programs(24), request, 150)
    assert sum(ran) > 0.9 * len(ran), "PyTorch refuses too many programs"


@pytest.mark.parametrize("mode", ["CPU", "CPU NOOPT", "CL"])
def test_graphs(mode: str, request: pytest.FixtureRequest) -> None:
    if mode == "CL":
        need_opencl()

    def check(graph: Graph) -> None:
        with config.override(**MODES[mode]):
            check_graph(graph, (mode, lambda: run_graph(graph, mode.partition(" ")[0])))

    drawn(check, graphs(24), request, 15 if mode == "CL" else 100)
