"""Fixtures that every test file shares."""

import os

import pytest

# NUMPY, the reference, unless LAZYGRAD_TEST_DEVICES lists others: "NUMPY,CPU,CL"
DEVICES = [name for name in os.environ.get("LAZYGRAD_TEST_DEVICES", "NUMPY").upper().split(",") if name]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """The name of a device under test."""
    return request.param

# every graph that a test realizes is verified
pytest_plugins = ["legal_graphs"]
