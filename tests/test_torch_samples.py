"""Every operation of PyTorch's table on PyTorch's samples: values, dtypes and gradients on each device, and
the forms of a function: method, in place, `out=`, other names.

A usual run takes a share: on NUMPY float32 and another dtype of each operation, on CPU one dtype of every
eighth, on CL one of every fortieth, and of the samples that PyTorch draws for each no more than SAMPLES. All:

    python -m pytest tests/test_torch_samples.py --every-dtype        hours: most kernels are new
    LAZYGRAD_TEST_DEVICES=CPU python -m pytest tests/test_torch_samples.py -k "test_values and int64"
"""

from __future__ import annotations

from typing import Any

import pytest
from conftest import share
from torch_calls import OTHER_ENDS, Calls, has_same_values
from torch_samples import (
    DTYPES,
    OPS,
    REFUSED,
    first_dtype,
    last_word,
    raised_by,
    reference_samples,
    samples,
    title,
    torch,
)

from lazygrad import config
from lazygrad.errors import UnsupportedError


@pytest.fixture(autouse=True)
def _same_numbers():
    with config.override(RNG="torch"):
        yield


SAMPLES = {"NUMPY": 10, "CPU": 8, "CL": 4}
OTHERS = 1  # dtypes besides float32 on NUMPY
DISTANCE = {"CPU": 8, "CL": 40}  # of operations that devices take which compile
CASES = [(op, dtype) for op in OPS for dtype in DTYPES if dtype in op.dtypes]
_NUMBERS = {id(op): i for i, op in enumerate(OPS)}


def is_usual(case: Any, device: str) -> bool:
    """Whether a case runs where not all are asked for: other dtypes for each operation."""
    op, dtype = case
    number = _NUMBERS[id(op)]
    dtypes = [d for d in DTYPES if d in op.dtypes]
    if device in DISTANCE:
        turn, rest = divmod(number, DISTANCE[device])
        return rest == 0 and dtype is dtypes[turn % len(dtypes)]
    others = [d for d in dtypes if d is not torch.float32]
    return dtype not in others or (others.index(dtype) - number * OTHERS) % len(others) < OTHERS


@pytest.mark.usual(by=is_usual)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{title(case[0])}-{last_word(case[1])}")
def test_values(case: Any, device: str, request: pytest.FixtureRequest) -> None:
    op, dtype = case
    calls = Calls(device, compare_values=has_same_values(op, dtype))
    gradients = op.supports_autograd and dtype in (torch.float32, torch.float64)
    for sample in share(samples(op, dtype, gradients), SAMPLES[device], request):
        calls.run(op, sample)
        if dtype is torch.float32:
            calls.run(op, sample.noncontiguous())
    calls.compare()


REFERENCE_CASES = [(op, dtype) for op, dtype in CASES if op.reference_inputs_func is not None]
REFERENCE_DISTANCE = {"NUMPY": 67, "CPU": 331, "CL": 1201}  # of cases of the usual run
_REFERENCE_NUMBERS = {(id(op), dtype): i for i, (op, dtype) in enumerate(REFERENCE_CASES)}


def is_usual_reference(case: Any, device: str) -> bool:
    op, dtype = case
    return _REFERENCE_NUMBERS[id(op), dtype] % REFERENCE_DISTANCE[device] == 0


@pytest.mark.usual(by=is_usual_reference)
@pytest.mark.parametrize("case", REFERENCE_CASES, ids=lambda case: f"{title(case[0])}-{last_word(case[1])}")
def test_reference_values(case: Any, device: str, request: pytest.FixtureRequest) -> None:
    """Ends of types, large sizes and more strides; no gradients, which PyTorch's vectors give another value
    at NaN than its single elements."""
    op, dtype = case
    calls = Calls(device, has_same_values(op, dtype) and has_same_values(op, dtype, OTHER_ENDS))
    for sample in share(reference_samples(op, dtype), SAMPLES[device], request):
        calls.run(op, sample)
    calls.compare()


@pytest.mark.parametrize("op", OPS, ids=title)
def test_forms(op: Any, request: pytest.FixtureRequest) -> None:
    """The method, the form in place, `out=`, and every other name."""
    dtype = first_dtype(op)
    if dtype is None:
        return
    calls = Calls("NUMPY", compare_values=has_same_values(op, dtype))
    drawn = samples(op, dtype, op.supports_autograd and dtype.is_floating_point)
    for sample in share(drawn, SAMPLES["NUMPY"], request):
        forms = [("method", op.method_variant), ("in place", op.inplace_variant)]
        for other in op.aliases:
            forms += [(other.name, other.op), (f"method {other.name}", other.method_variant)]
            forms += [(f"in place {other.name}", other.inplace_variant)]
        for name, form in forms:
            if form is not None and not ("in place" in name and sample.broadcasts_input):
                calls.run(op, sample, name, form)
        if op.supports_out:
            calls.run_out(op, sample)
    calls.compare()


@pytest.mark.parametrize("op", REFUSED, ids=title)
def test_refused_kinds(op: Any) -> None:
    for sample in samples(op, first_dtype(op), False)[:3]:
        assert isinstance(raised_by(op.op, sample), UnsupportedError)
