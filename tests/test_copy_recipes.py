"""CPU recipes of copies in another order: tiles for every dtype, and what is left over of them."""

import pytest
from test_recipes import check, leaf, optimized

from lazygrad import dtypes, ops
from lazygrad.dtypes import DType


@pytest.mark.parametrize("d", dtypes.ALL, ids=lambda d: d.name)
@pytest.mark.parametrize("shape", [(64, 64), (70, 101), (5, 130), (3, 3)])
def test_transposes(d: DType, shape: tuple[int, int]) -> None:
    node = ops.permute(leaf("x", *shape, dtype=d), arg=(1, 0))
    check(node)
    if min(shape) > 4:
        assert any("transpose" in words for words in optimized(node)[0].recipe)


@pytest.mark.parametrize("name", ["int8", "float16", "bfloat16", "float32"])
def test_channels_to_the_end_and_back(name: str) -> None:
    x = leaf("x", 2, 19, 9, 11, dtype=dtypes.by_name(name))
    check(ops.permute(x, arg=(0, 2, 3, 1)))
    check(ops.permute(x, arg=(3, 2, 1, 0)))
