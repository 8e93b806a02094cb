"""Fixtures that every test file shares, and which devices a test runs on.

A test that asks for `device` runs all its cases on NUMPY, the reference, and a sample of them, another one on
each, on CPU and, where pyopencl finds a platform, on CL: compiling is what takes the time.
`LAZYGRAD_TEST_DEVICES=CPU,CL` runs all cases on the devices that it lists. A test that asks for
`compiling_device` runs all its cases on CPU and CL. A test marked with `usual(by=function)` runs the cases
for whose parameters the function is true.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar

import pytest

T = TypeVar("T")

# PyTorch and NumPy compute small things in every test: threads that wait for each other take many times
# as long wherever a core is busy
os.environ.setdefault("OMP_NUM_THREADS", "1")

CASES_ON = {"CPU": 6, "CL": 1}  # of each test, at most


def has_opencl() -> bool:
    """Whether there is a platform to run OpenCL on."""
    try:
        import pyopencl

        return bool(pyopencl.get_platforms())
    except Exception:  # the driver's own errors are of many kinds
        return False


LISTED = [name for name in os.environ.get("LAZYGRAD_TEST_DEVICES", "").upper().split(",") if name]
COMPILING = ["CPU", "CL"] if has_opencl() else ["CPU"]
DEVICES = LISTED or ["NUMPY", *COMPILING]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """The name of a device under test."""
    return request.param


@pytest.fixture(params=[name for name in COMPILING if name in DEVICES])
def compiling_device(request: pytest.FixtureRequest) -> str:
    """The name of a device that compiles kernels."""
    return request.param


def asked_for_all(config: pytest.Config) -> bool:
    """Whether a run was asked for particular devices or dtypes, and not for a share of each."""
    return bool(LISTED) or config.getoption("--every-dtype")


def share(things: Sequence[T], most: int, request: pytest.FixtureRequest) -> Sequence[T]:
    """Those at equal distances, `most` of them, or all if asked for."""
    if asked_for_all(request.config) or len(things) <= most:
        return things
    return [things[k * len(things) // most] for k in range(most)]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the usual cases of each test, or a sample on devices that compile, unless all were asked for."""
    named = any("::" in argument for argument in config.args)
    before = set(config.cache.get(_PASSED, ()) if config.getoption("--not-passed-before") else ())
    dropped = {item for item in items if item.nodeid in before}
    cases = defaultdict(list)
    for item in items:
        name = getattr(item, "callspec", None) and item.callspec.params.get("device")
        usual = item.get_closest_marker("usual")
        if usual is not None:
            if not (named or asked_for_all(config) or usual.kwargs["by"](**item.callspec.params)):
                dropped.add(item)
        elif name in CASES_ON and not (named or LISTED):
            cases[name, item.path, item.originalname].append(item)
    for (name, *_), tests in cases.items():
        dropped |= set(tests) - set(sampled(tests, name))
    items[:] = [item for item in items if item not in dropped]
    config.hook.pytest_deselected(items=dropped)


_PASSED = "tests/passed"
_passed: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        _passed.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.pluginmanager.hasplugin("cacheprovider"):
        session.config.cache.set(_PASSED, _passed)


def sampled(cases: list[pytest.Item], name: str) -> list[pytest.Item]:
    """Cases at equal distances, other ones for every device."""
    count = min(len(cases), CASES_ON[name])
    first = DEVICES.index(name)
    return [cases[(k * len(cases) // count + first) % len(cases)] for k in range(count)]


# every graph that a test realizes is verified
pytest_plugins = ["legal_graphs"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--refresh", action="store_true", help="rewrite the golden files instead of comparing with them"
    )
    parser.addoption(
        "--every-dtype",
        action="store_true",
        help="test_op_devices, test_torch_*: all cases with all dtypes, OpenCL too",
    )
    parser.addoption(
        "--not-passed-before",
        action="store_true",
        help="without the tests that passed in the last run in this folder",
    )
    parser.addoption(
        "--random-examples", type=int, default=0, help="random programs for each test, drawn anew"
    )
