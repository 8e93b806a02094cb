"""Fine points of PyTorch's behaviour that code rarely meets, beside PyTorch."""

import copy
import warnings
from typing import Any

import numpy as np
import pytest
from torch_support import check, pytorch

import lazygrad


def data(m: Any, *shape: int, seed: int = 0) -> Any:
    return m.tensor(np.random.RandomState(seed).randn(*shape).astype("float32"))


def outcome(run: Any) -> Any:
    """The result, or the error."""
    try:
        return run()
    except Exception as problem:
        return problem


def power_pools(m: Any) -> Any:
    found = []
    for rank, size in ((1, (7,)), (2, (7, 5)), (3, (4, 5, 3))):
        for ceil_mode in (True, False):
            x = data(m, 2, 3, *size).requires_grad_()
            y = getattr(m.nn.functional, f"lp_pool{rank}d")(x, 2, 3, 2, ceil_mode)
            y.sum().backward()
            found += [y, x.grad]
    return found


def nearest_grids(m: Any) -> Any:
    x, grid = data(m, 1, 1, 3, 3).requires_grad_(), data(m, 1, 2, 2, 2).requires_grad_()
    y = m.nn.functional.grid_sample(x, grid, "nearest", align_corners=False)
    return m.autograd.grad((y * y).sum(), [x, grid])


def grids_without_places(m: Any) -> Any:
    found = []
    for mode in ("bilinear", "nearest", "bicubic"):
        for padding in ("zeros", "border", "reflection"):
            for value in (float("nan"), float("inf"), -float("inf")):
                grid = m.zeros(1, 2, 2, 2)
                grid[0, 0, 0, 0] = value
                found.append(m.nn.functional.grid_sample(data(m, 1, 1, 3, 3), grid, mode, padding, True))
    return found


def copied_parameters(m: Any) -> Any:
    p = m.nn.Parameter(m.ones(2))
    p.grad, p.tag = m.ones(2), 1
    first, second = copy.deepcopy([p, p])
    return first, first is second, first.grad, hasattr(first, "tag"), p.tag, p.grad


def paths(m: Any) -> Any:
    hooks = m.nn.modules.module
    names = [f"register_module_{n}" for n in ("forward_hook", "forward_pre_hook", "full_backward_hook")]
    return [callable(getattr(hooks, n)) for n in names], callable(m.nn.utils.stateless.functional_call)




def wrong_replacements(m: Any) -> Any:
    layer, x = m.nn.Sequential(m.nn.Linear(2, 2)), m.ones(1, 2)
    wrong = [{"0.weight": 3}, {"": m.ones(1)}, {"0": m.ones(1)}, [1], {"0.zz": m.ones(1)}]
    return [outcome(lambda w=w: m.func.functional_call(layer, w, x).shape) for w in wrong]


CASES = [power_pools, nearest_grids, grids_without_places, copied_parameters, paths, wrong_replacements]


def compare(ours: Any, theirs: Any) -> None:
    """As `check`, and errors are of the types that PyTorch raises."""
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            compare(a, b)
    elif isinstance(theirs, Exception):
        assert isinstance(ours, type(theirs)), (ours, theirs)
    else:
        assert not isinstance(ours, Exception), (ours, theirs)
        check(ours, theirs)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_as_in_pytorch(case: Any) -> None:
    torch = pytorch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compare(case(lazygrad), case(torch))
