"""Result types of every pair of element types, with dimensions, without, and beside Python numbers, over all
operations of `promotion_cases.py`: as PyTorch's are.

`promotion_table.txt` holds what PyTorch's version in its first line gives: a pattern of letters a line, and
the rows that it is for. Where another version is installed, that one is asked instead.
`python tests/test_promotion.py` writes the table anew.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from promotion_cases import FREE, TYPES, rows
from torch_support import pytorch

import lazygrad

TABLE = Path(__file__).parent / "promotion_table.txt"
ROWS = dict(rows())


def frozen() -> tuple[str, dict[str, str]]:
    """PyTorch's version and the pattern of each row."""
    version, *lines = TABLE.read_text().splitlines()
    patterns = {}
    for line in lines:
        pattern, names = line.split("\t")
        patterns.update(dict.fromkeys(names.split("; "), pattern))
    return version, patterns


def asked_of_pytorch() -> tuple[str, dict[str, str]]:
    """The same, from what is installed."""
    torch = pytorch()
    return torch.__version__.split("+")[0], {name: make(torch) for name, make in ROWS.items()}


@contextmanager
def interpreted() -> Iterator[None]:
    """Tensors on the reference device, which compiles nothing."""
    before = lazygrad.get_default_device()
    lazygrad.set_default_device("numpy")
    try:
        yield
    finally:
        lazygrad.set_default_device(before)


def differences(ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    """In words; where PyTorch refuses, a lack of ours is a refusal too."""
    names, found = list(TYPES), []
    for row, pattern in theirs.items():
        pairs = len(pattern) > len(names)
        for place, (g, w) in enumerate(zip(ours[row], pattern, strict=True)):
            if g != w and w != FREE and not (g == FREE and w in "!TVI"):
                kinds = [names[place // len(names)], names[place % len(names)]] if pairs else [names[place]]
                found.append(f"{row} of {', '.join(kinds)}: {g} is not {w}")
    return found


def test_every_result_type_is_pytorchs():
    version, theirs = frozen()
    torch = __import__("importlib").util.find_spec("torch")
    if torch is not None and not pytorch().__version__.startswith(version):
        theirs = asked_of_pytorch()[1]
    with interpreted():
        ours = {name: make(lazygrad) for name, make in ROWS.items()}
    assert set(ours) == set(theirs), "python tests/test_promotion.py writes the table"
    found = differences(ours, theirs)
    assert not found, "\n".join(found[:40])


def test_the_table_is_pytorchs():
    version, patterns = frozen()
    if not pytorch().__version__.startswith(version):
        pytest.skip(f"another version than {version} is installed")
    assert asked_of_pytorch()[1] == patterns, "python tests/test_promotion.py writes the table"


def test_differences_are_found():
    theirs = frozen()[1]
    ours = dict(theirs)
    row = "add (2,) (2,)"
    ours[row] = ours[row][:7] + "d" + ours[row][8:]
    assert differences(ours, theirs) == [f"{row} of bool, int32: d is not {theirs[row][7]}"]


def test_numpy_scalars_and_arrays_on_the_left():
    w = lazygrad.tensor([1.0, 2.0])
    for number in (np.int64(3), np.float64(3), np.float32(3), 3):
        for f in (operator.add, operator.mul, operator.sub, operator.truediv):
            got = f(number, w)
            assert isinstance(got, lazygrad.Tensor)
            assert got.dtype == lazygrad.float32
            assert got.tolist() == [f(3, 1.0), f(3, 2.0)]
    assert sum([w, w, w]).tolist() == [3.0, 6.0]
    assert isinstance(np.ones(2, np.float32) * w, lazygrad.Tensor)


def test_default_dtype():
    torch = pytorch()
    for module in (lazygrad, torch):
        before = module.get_default_dtype()
        try:
            module.set_default_dtype(module.float64)
            assert module.tensor(1.5).dtype == module.float64
            assert (module.tensor([1, 2]) / 2).dtype == module.float64
            assert module.zeros(2).dtype == module.float64
        finally:
            module.set_default_dtype(before)


def test_messages_name_both_sides_and_the_cure():
    x = lazygrad.tensor([True])
    with pytest.raises(
        RuntimeError, match="Subtraction, the `-` operator, with two bool tensors is not supported"
    ):
        x - x
    with pytest.raises(RuntimeError, match="invert a mask"):
        1 - x
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        lazygrad.tensor([1]).add_(0.5)
    with pytest.raises(RuntimeError, match=r"attempted to promote UInt16 and Char: convert one"):
        lazygrad.ones(2, dtype=lazygrad.uint16) + lazygrad.ones(2, dtype=lazygrad.int8)
    with pytest.raises(TypeError, match=r"argument 'other' \(position 2\) must be Tensor, not int"):
        lazygrad.maximum(lazygrad.ones(2), 1)


def test_numbers_that_keep_their_digits_in_a_sum_of_small_types():
    x = lazygrad.ones(2, dtype=lazygrad.uint8)
    assert lazygrad.add(x, x, alpha=3).tolist() == [4, 4]
    assert lazygrad.add(x.bool(), x.bool(), alpha=2).tolist() == [True, True]
    assert lazygrad.addcmul(x.int(), x.int(), x.int(), value=2.5).tolist() == [3, 3]
    assert lazygrad.ldexp(lazygrad.tensor([0.75]), lazygrad.tensor([3])).tolist() == [6.0]


LIMITED = "float16 bfloat16 float32 float64 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz"


@pytest.mark.parametrize("name", [*LIMITED.split(), "float8_e8m0fnu", "complex64", "complex128"])
def test_limits_of_float_types_are_pytorchs(name):
    torch = pytorch()
    ours, theirs = lazygrad.finfo(getattr(lazygrad, name)), torch.finfo(getattr(torch, name))
    assert repr(ours) == repr(theirs)
    for limit in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution"):
        assert getattr(ours, limit) == pytest.approx(getattr(theirs, limit), rel=1e-12)
    for question in ("is_floating_point", "is_complex", "is_signed"):
        assert getattr(getattr(lazygrad, name), question) == getattr(getattr(torch, name), question)


if __name__ == "__main__":
    version, patterns = asked_of_pytorch()
    together = defaultdict(list)
    for name, pattern in patterns.items():
        together[pattern].append(name)
    TABLE.write_text("\n".join([version, *(f"{p}\t{'; '.join(n)}" for p, n in together.items())]) + "\n")
