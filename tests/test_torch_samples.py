"""Every operation of PyTorch's table on PyTorch's samples: values, dtypes and gradients on each device, and
the forms of a function: method, in place, `out=`, other names."""

from __future__ import annotations

from typing import Any

import pytest
from torch_samples import DTYPES, OPS, REFUSED, UNSET, Calls, first_dtype, raised_by, samples, title, torch

from lazygrad import config
from lazygrad.errors import UnsupportedError


@pytest.fixture(autouse=True)
def _same_numbers():
    with config.override(RNG="torch"):
        yield


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d).removeprefix("torch."))
@pytest.mark.parametrize("op", OPS, ids=title)
def test_values(op: Any, dtype: Any, device: str) -> None:
    if dtype not in op.dtypes:
        return
    calls = Calls(device, compare_values=not op.name.startswith(UNSET))
    gradients = op.supports_autograd and dtype in (torch.float32, torch.float64)
    for sample in samples(op, dtype, gradients):
        calls.run(op, sample)
        if dtype is torch.float32:
            calls.run(op, sample.noncontiguous())
    calls.compare()


@pytest.mark.parametrize("op", OPS, ids=title)
def test_forms(op: Any) -> None:
    """The method, the form in place, `out=`, and every other name."""
    dtype = first_dtype(op)
    if dtype is None:
        return
    calls = Calls("NUMPY", compare_values=not op.name.startswith(UNSET))
    for sample in samples(op, dtype, op.supports_autograd and dtype.is_floating_point):
        forms = [("method", op.method_variant), ("in place", op.inplace_variant)]
        for other in op.aliases:
            forms += [(other.name, other.op), (f"method {other.name}", other.method_variant)]
            forms += [(f"in place {other.name}", other.inplace_variant)]
        for name, form in forms:
            if form is not None:
                calls.run(op, sample, name, form)
        if op.supports_out:
            calls.run_out(op, sample)
    calls.compare()


@pytest.mark.parametrize("op", REFUSED, ids=title)
def test_refused_kinds(op: Any) -> None:
    for sample in samples(op, first_dtype(op), False)[:3]:
        assert isinstance(raised_by(op.op, sample), UnsupportedError)
