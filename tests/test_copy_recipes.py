"""CPU recipes of copies in another order: tiles for every dtype, and what is left over of them."""

import re

import numpy as np
import pytest
from test_recipes import check, leaf, optimized

import lazygrad
from lazygrad import dtypes, ops
from lazygrad.dtypes import DType
from lazygrad.runtime.cpu import cpu_device


@pytest.mark.parametrize("d", dtypes.ALL, ids=lambda d: d.name)
@pytest.mark.parametrize("shape", [(64, 64), (70, 101), (5, 130), (3, 3)])
def test_transposes(d: DType, shape: tuple[int, int]) -> None:
    node = ops.permute(leaf("x", *shape, dtype=d), arg=(1, 0))
    check(node)
    if min(shape) > 4 and cpu_device().target.vector_bytes >= 4 * d.itemsize:
        assert any("transpose" in words for words in optimized(node)[0].recipe)


@pytest.mark.parametrize("name", ["int8", "float16", "bfloat16", "float32"])
def test_channels_to_the_end_and_back(name: str) -> None:
    x = leaf("x", 2, 19, 9, 11, dtype=dtypes.by_name(name))
    check(ops.permute(x, arg=(0, 2, 3, 1)))
    check(ops.permute(x, arg=(3, 2, 1, 0)))


@pytest.mark.parametrize("d", dtypes.ALL, ids=lambda d: d.name)
@pytest.mark.parametrize("columns", [8, 70])
def test_every_few_elements_and_backwards(d: DType, columns: int) -> None:
    values = np.arange(5 * columns).reshape(5, columns) % 7 % 3
    x = lazygrad.tensor(values, device="CPU").to(d).realize()
    for step in (2, 3, 7):
        assert (x[:, 1::step].logical_not().numpy() == (values[:, 1::step] == 0)).all()
    assert (x.flip(1).logical_not().numpy() == (values[:, ::-1] == 0)).all()


def test_truths_are_moved_as_bytes() -> None:
    """Lanes of single bits are slow to move."""
    x = lazygrad.tensor(np.arange(4096).reshape(16, 256) % 3 == 0, device="CPU").realize()
    for y in (x[:, ::2].logical_not(), x.flip(1).logical_not()):
        text = str(lazygrad.explain(y))
        assert "shufflevector" in text and not re.search(r"shufflevector <\d+ x i1>", text)
