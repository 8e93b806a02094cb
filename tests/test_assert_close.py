"""`testing.assert_close` beside PyTorch's: what passes, what fails, and in which words."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from torch_support import pytorch

import lazygrad

# name: arguments and options, by library
CASES: dict[str, Any] = {
    "values": lambda m: ((m.tensor([1.0, 2.0, 3.0]), m.tensor([1.0, 2.5, 3.0])), {}),
    "first": lambda m: ((m.tensor([[1.0, 2.0], [3.0, 4.0]]), m.tensor([[1.0, 2.5], [3.0, 7.0]])), {}),
    "ints": lambda m: ((m.tensor([1, 2]), m.tensor([1, 3])), {}),
    "int tol": lambda m: ((m.tensor([1, 2]), m.tensor([1, 9])), {"rtol": 0, "atol": 1}),
    "bool": lambda m: ((m.tensor([True, False]), m.tensor([True, True])), {}),
    "scalar": lambda m: ((m.tensor(1.0), m.tensor(2.0)), {}),
    "scalar int": lambda m: ((m.tensor(1), m.tensor(2)), {}),
    "numbers": lambda m: ((1.0, 2.0), {}),
    "numbers eq": lambda m: ((1, 2), {}),
    "bools": lambda m: ((True, False), {}),
    "int float": lambda m: ((1, 1.5), {}),
    "int float eq": lambda m: ((1, 1.0), {}),
    "int float nocheck": lambda m: ((1, 1.0), {"check_dtype": False}),
    "shape": lambda m: ((m.ones(2), m.ones(3)), {}),
    "dtype": lambda m: ((m.ones(2), m.ones(2, dtype=m.float64)), {}),
    "dtype off": lambda m: ((m.ones(2), m.zeros(2, dtype=m.float64)), {"check_dtype": False}),
    "int vs float off": lambda m: (
        (m.ones(2, dtype=m.int32), m.zeros(2, dtype=m.float64)),
        {"check_dtype": False},
    ),
    "stride": lambda m: ((m.ones(2, 3), m.ones(3, 2).t()), {"check_stride": True}),
    "stride off": lambda m: ((m.ones(2, 3), m.ones(3, 2).t()), {}),
    "list": lambda m: (([m.ones(2), m.ones(2)], [m.ones(2), m.zeros(2)]), {}),
    "list len": lambda m: (([m.ones(2)], [m.ones(2), m.zeros(2)]), {}),
    "dict": lambda m: (
        ({"a": m.ones(2), "b": [m.ones(1), m.zeros(1)]}, {"a": m.ones(2), "b": [m.ones(1), m.ones(1)]}),
        {},
    ),
    "dict keys": lambda m: (({"a": m.ones(2)}, {"b": m.ones(2)}), {}),
    "list types": lambda m: ((["x"], ["y"]), {}),
    "strings": lambda m: (("x", "x"), {}),
    "none": lambda m: ((None, m.ones(1)), {}),
    "none2": lambda m: ((None, 1), {}),
    "none3": lambda m: ((None, None), {}),
    "tensor vs number": lambda m: ((m.ones(1), 1.0), {}),
    "tensor vs number2": lambda m: ((m.tensor(1.0), 1.0), {}),
    "tensor vs array": lambda m: ((m.ones(1), np.ones(1, "f")), {}),
    "array": lambda m: ((np.ones(2, "f"), np.zeros(2, "f")), {}),
    "array number": lambda m: ((np.float32(1), np.float32(2)), {}),
    "npint": lambda m: ((np.int64(1), 1), {}),
    "tensor vs list": lambda m: ((m.ones(1), [1.0]), {}),
    "list vs tuple": lambda m: (([1.0], (1.0,)), {}),
    "list numbers": lambda m: (([1.0, 2.0], [1.0, 2.5]), {}),
    "nan": lambda m: ((m.tensor([float("nan")]), m.tensor([float("nan")])), {}),
    "nan eq": lambda m: ((m.tensor([float("nan")]), m.tensor([float("nan")])), {"equal_nan": True}),
    "nan numbers": lambda m: ((float("nan"), float("nan")), {}),
    "inf": lambda m: ((m.tensor([float("inf")]), m.tensor([1.0])), {}),
    "inf2": lambda m: ((m.tensor([float("inf"), 2.0]), m.tensor([float("inf"), 3.0])), {}),
    "zero expected": lambda m: ((m.tensor([1.0, 0.0]), m.tensor([0.0, 0.0])), {}),
    "one tol": lambda m: ((m.ones(1), m.ones(1)), {"rtol": 1.0}),
    "msg": lambda m: ((m.ones(1), m.zeros(1)), {"msg": "my words"}),
    "msg fn": lambda m: ((m.ones(1), m.zeros(1)), {"msg": lambda s: "Header\n" + s}),
    "msg list": lambda m: (([m.ones(1)], [m.zeros(1)]), {"msg": lambda s: "Header\n" + s}),
    "msg len": lambda m: (([m.ones(1)], []), {"msg": "x"}),
    "empty": lambda m: ((m.ones(0), m.ones(0)), {}),
    "half": lambda m: ((m.ones(2, dtype=m.float16), m.full((2,), 1.5, dtype=m.float16)), {}),
    "bf": lambda m: ((m.ones(2, dtype=m.bfloat16), m.full((2,), 1.5, dtype=m.bfloat16)), {}),
    "u8": lambda m: ((m.tensor([1, 200], dtype=m.uint8), m.tensor([2, 0], dtype=m.uint8)), {}),
    "subclass": lambda m: ((m.nn.Parameter(m.ones(1)), m.ones(1)), {"allow_subclasses": False}),
    "subclass ok": lambda m: ((m.nn.Parameter(m.ones(1)), m.ones(1)), {}),
    "device": lambda m: ((m.ones(1), m.ones(1, device="meta")), {}),
    "device off": lambda m: ((m.ones(1), m.ones(1, device="meta")), {"check_device": False}),
    "meta": lambda m: ((m.ones(1, device="meta"), m.ones(1, device="meta")), {}),
    "nested dict": lambda m: (({"a": {"b": (1, 2)}}, {"a": {"b": (1, 3)}}), {}),
    "grad": lambda m: ((m.ones(2, requires_grad=True), m.zeros(2)), {}),
    "3d": lambda m: ((m.arange(24.0).reshape(2, 3, 4), m.zeros(2, 3, 4)), {}),
    "str tensor": lambda m: ((m.ones(1), "x"), {}),
    "complex": lambda m: ((1j, 2j), {}),
    "size": lambda m: ((m.ones(2, 3).shape, m.ones(2, 4).shape), {}),
    "set": lambda m: (({1}, {1}), {}),
    "obj": lambda m: ((object, object), {}),
    "number list": lambda m: ((1.0, [1.0]), {}),
    "np vs tensor nonstrict": lambda m: ((np.ones(2), m.ones(2)), {"allow_subclasses": True}),
    "OrderedDict": lambda m: ((OrderedDict(a=1.0), {"a": 1.5}), {}),
}


def said(library: Any, case: Any) -> str:
    """The kind of an error and its words, numbers by five digits; "" for none."""
    args, options = case(library)
    try:
        library.testing.assert_close(*args, **options)
    except (AssertionError, TypeError, ValueError, RuntimeError) as problem:
        kind = next(k for k in type(problem).__mro__ if k.__module__ == "builtins")
        words = str(problem).removeprefix("[assert_close] ").replace("lazygrad.", "torch.")
        words = words.replace("torch.tensors.core.", "torch.")
        return f"{kind.__name__}: " + re.sub(r"\d+\.\d+(e-?\d+)?", lambda n: f"{float(n[0]):.5g}", words)
    return ""


@pytest.mark.parametrize("name", CASES)
def test_words(name: str) -> None:
    assert said(lazygrad, CASES[name]) == said(pytorch(), CASES[name])


def test_what_pytorch_stumbles_over() -> None:
    """There, these are errors of its insides."""
    with pytest.raises(AssertionError, match="types do not match"):
        lazygrad.testing.assert_close(True, 1)
    with pytest.raises(RuntimeError, match="rtol must be greater than or equal to zero, but got -1"):
        lazygrad.testing.assert_close(1.0, 1.0, rtol=-1.0, atol=0.0)


@pytest.mark.parametrize("name", ["bool", "uint8", "int64", "bfloat16", "float32"])
def test_made_tensors(name: str) -> None:
    for m in (lazygrad, pytorch()):
        dtype, make = getattr(m, name), m.testing.make_tensor
        found = make(30, 40, dtype=dtype, device="cpu", exclude_zero=True)
        assert found.dtype == dtype and found.double().abs().max() <= 9 and bool((found != 0).all())
        spread = make((3, 4), dtype=dtype, device="cpu", noncontiguous=True)
        assert spread.shape == (3, 4) and spread.stride() == (8, 2)
        assert make((), dtype=dtype, device="cpu", noncontiguous=True).shape == ()
        for wrong in ({"low": 1, "high": 0}, {"noncontiguous": True, "memory_format": m.preserve_format}):
            with pytest.raises(ValueError, match="low|exclusive"):
                make(2, dtype=dtype, device="cpu", **wrong)
