"""Comparing with PyTorch where it is installed: the same function on the same values, with gradients."""

import warnings

import numpy as np
import pytest

from lazygrad import dtypes
from lazygrad.tensors import FUNCTIONS, Tensor

torch = pytest.importorskip("torch")


class _Library:
    """What lazygrad exports, by name."""

    def __getattr__(self, name):
        return FUNCTIONS[name] if name in FUNCTIONS else dtypes.BY_NAME[name]


lazy = _Library()


def lazy_of(value, device, requires_grad=False):
    """A torch tensor or array as a Tensor on a device; anything else as it is."""
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    if isinstance(value, np.ndarray):
        made = lazy.tensor(value, device=device)
        return made.requires_grad_() if requires_grad else made
    if isinstance(value, tuple | list):
        return type(value)(lazy_of(v, device) for v in value)
    return value


def assert_same(got, want, tolerance=1e-9):
    """Equal shapes, dtypes and values; tuples element by element."""
    if isinstance(want, tuple | list):
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            assert_same(g, w, tolerance)
    elif isinstance(want, torch.Tensor):
        assert isinstance(got, Tensor), got
        assert tuple(got.shape) == tuple(want.shape), (got.shape, want.shape)
        assert got.dtype.name == str(want.dtype).removeprefix("torch."), (got.dtype, want.dtype)
        np.testing.assert_allclose(
            got.detach().numpy(), want.detach().numpy(), rtol=tolerance, atol=tolerance
        )
    else:
        assert got == want


def compare(device, function, *arrays, tolerance=1e-9, gradients=True):
    """`function(library, *tensors)` with torch and with lazygrad: same results, and same gradients of float
    inputs."""
    theirs = [torch.tensor(a, requires_grad=gradients and a.dtype.kind == "f") for a in arrays]
    ours = [lazy_of(a, device, gradients and a.dtype.kind == "f") for a in arrays]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, about features in beta
        want = function(torch, *theirs)
    got = function(lazy, *ours)
    assert_same(got, want, tolerance)
    wants = [w for w in (want if isinstance(want, tuple | list) else [want]) if w.dtype.is_floating_point]
    gots = [g for g in (got if isinstance(got, tuple | list) else [got]) if g.dtype.is_floating_point]
    if not gradients or not any(w.requires_grad for w in wants):
        assert not any(g.requires_grad for g in gots)
        return
    weights = [
        np.random.default_rng(7).standard_normal(tuple(w.shape)).astype(w.detach().numpy().dtype)
        for w in wants
    ]
    sum((w * torch.tensor(v)).sum() for w, v in zip(wants, weights, strict=True)).backward()
    sum((g * lazy_of(v, device)).sum() for g, v in zip(gots, weights, strict=True)).backward()
    for g, w in zip(ours, theirs, strict=True):
        if w.requires_grad and g.grad is None:  # no gradient is the gradient 0
            assert w.grad is None or not w.grad.any()
        elif w.requires_grad:
            assert_same(g.grad, w.grad, tolerance)
