"""torch.masked beside PyTorch: values, gradients, types and errors, with and without masks."""

import numpy as np
import pytest
from torch_support import check, outcome, pytorch

import lazygrad

REDUCTIONS = "sum prod amax amin mean norm var std logsumexp".split()
X = np.array([[[1.5, -2.0, 0.25, 3.0], [0.5, 0.0, -1.0, 2.0], [2.5, 2.5, -0.5, 1.0]],
              [[-1.0, 4.0, 0.75, 1.25], [3.5, -2.5, 1.0, 0.0], [0.1, 0.2, 0.3, 0.4]]])
MASK = np.array([[[True, False, True, True], [False] * 4, [True] * 4],
                 [[False, True, True, False], [True, True, False, True], [False, False, False, True]]])
MASKS = {"no mask": None, "whole": MASK, "of rows": MASK[0], "of columns": MASK[:, :1],
         "nothing": np.zeros((3, 1), bool), "numbers": MASK.astype(np.float32)}
DIMS = {"all": None, "last": -1, "two": (2, 0)}


def both(call, dtype="float64", mask=None):
    """The result under both, and the gradient of its finite part."""
    found = []
    for m in (lazygrad, pytorch()):
        x = m.tensor(X.tolist()).to(getattr(m, dtype))
        if x.is_floating_point():
            x.requires_grad_()
        y = call(m, x, None if mask is None else m.tensor(mask))
        if y.requires_grad:
            m.where(y.isfinite(), y, m.zeros_like(y)).sum().backward()
        found.append([y.detach()] if x.grad is None else [y.detach(), x.grad])
    return found


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name, mask, dim):
    dim = DIMS[dim]
    ours, theirs = both(lambda m, x, k: getattr(m.masked, name)(x, dim=dim, mask=k), mask=MASKS[mask])
    check(ours[0], theirs[0], rtol=1e-9)
    if name not in ("norm", "var", "std") or mask == "no mask":  # else NaN where nothing is chosen
        check(ours[1:], theirs[1:])
    kept = [getattr(m.masked, name)(m.tensor(X.tolist()), dim=dim, keepdim=True).shape
            for m in (lazygrad, pytorch())]
    assert tuple(kept[0]) == tuple(kept[1])


OTHERS = {
    "cumsum": lambda m, x, k: m.masked.cumsum(x, 1, mask=k),
    "cumprod": lambda m, x, k: m.masked.cumprod(x, -1, mask=k),
    "softmax": lambda m, x, k: m.masked.softmax(x, -1, mask=k),
    "log_softmax": lambda m, x, k: m.masked.log_softmax(x, 1, mask=k),
    "softmin": lambda m, x, k: m.masked.softmin(x, 0, mask=k),
    "normalize": lambda m, x, k: m.masked.normalize(x, 2.0, -1, mask=k),
    "normalize by sums": lambda m, x, k: m.masked.normalize(x, 1.0, 0, eps=2.0, mask=k),
    "argmax": lambda m, x, k: m.masked.argmax(x, -1, dtype=m.int64, mask=k),
    "argmin": lambda m, x, k: m.masked.argmin(x, mask=k),
    "median": lambda m, x, k: m.masked.median(x, mask=k),
    "median of columns": lambda m, x, k: m.masked.median(x, 1, keepdim=True, mask=k),
    "logaddexp": lambda m, x, k: m.masked.logaddexp(x, x.detach() * 2, input_mask=k),
    "logaddexp of both": lambda m, x, k: m.masked.logaddexp(
        x, x.detach() - 1, input_mask=k, other_mask=None if k is None else k.bool()),
    "norm of sizes": lambda m, x, k: m.masked.norm(x, 3, 1, mask=k),
    "greatest size": lambda m, x, k: m.masked.norm(x.detach(), float("inf"), mask=k),
    "least size": lambda m, x, k: m.masked.norm(x.detach(), float("-inf"), (0, 1), mask=k),
    "biased": lambda m, x, k: m.masked.var(x.detach(), -1, False, mask=k),
    "correction": lambda m, x, k: m.masked.std(x.detach(), 0, correction=2, mask=k),
    "float32": lambda m, x, k: m.masked.mean(x, 1, dtype=m.float32, mask=k),
}


@pytest.mark.parametrize("mask", ["no mask", "whole", "of rows"])
@pytest.mark.parametrize("name", OTHERS)
def test_other_functions(name, mask):
    ours, theirs = both(OTHERS[name], mask=MASKS[mask])
    check(ours[0], theirs[0], rtol=1e-9)
    finite = theirs[0].isfinite().all() and "median" not in name
    if finite:
        check(ours[1:], theirs[1:])


@pytest.mark.parametrize("dtype", ["bfloat16", "int32", "uint8", "bool"])
@pytest.mark.parametrize("name", [*REDUCTIONS, "median", "argmax", "softmax"])
def test_types(name, dtype):
    def call(m, x, k):
        return getattr(m.masked, name)(x.detach(), -1, mask=k)

    ours, theirs = (outcome(lambda m=m: call(m, m.tensor(np.abs(X[1]).tolist()).to(getattr(m, dtype)),
                                             m.tensor(MASK[1]))) for m in (lazygrad, pytorch()))
    if isinstance(theirs, Exception):
        assert isinstance(ours, Exception), ours
    else:
        check(ours, theirs, rtol=1e-2 if dtype == "bfloat16" else 1e-5)


MISTAKES = {
    "a mask of more dimensions": (lambda m, x: m.masked.sum(x, mask=x[None] > 0), IndexError),
    "a mask that does not fit": (lambda m, x: m.masked.sum(x, mask=m.ones(5) > 0), RuntimeError),
    "a dimension twice": (lambda m, x: m.masked.sum(x, (0, -3)), RuntimeError),
    "no dimension": (lambda m, x: m.masked.amax(x, 3), IndexError),
    "a mean of integers": (lambda m, x: m.masked.mean(x.long()), ValueError),
    "a median of nothing": (lambda m, x: m.masked.median(x.long(), mask=x > 100), ValueError),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name):
    call, kind = MISTAKES[name]
    for m in (lazygrad, pytorch()):
        assert isinstance(outcome(lambda m=m: call(m, m.tensor(X.tolist()))), kind)


def test_masked_tensors_are_refused():
    x = lazygrad.ones(2)
    for make in (lazygrad.masked.masked_tensor, lazygrad.masked.MaskedTensor):
        with pytest.raises(lazygrad.errors.UnsupportedError, match="no masked tensors"):
            make(x, x > 0)
    assert not lazygrad.masked.is_masked_tensor(x)
    from lazygrad.masked.maskedtensor import MaskedTensor

    assert not isinstance(x, MaskedTensor)
