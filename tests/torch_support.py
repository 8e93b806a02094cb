"""PyTorch beside lazygrad, for tests that compare the two; tests that need it are skipped where it is
missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lazygrad


def pytorch() -> Any:
    """The torch module; skips the test without it."""
    return pytest.importorskip("torch")


def both(values: Any, **options: Any) -> tuple[Any, Any]:
    """The same tensor in lazygrad and in PyTorch; `dtype` by name."""
    torch = pytorch()
    name = options.pop("dtype", None)
    if name is None:
        return lazygrad.tensor(values, **options), torch.tensor(values, **options)
    return (
        lazygrad.tensor(values, dtype=getattr(lazygrad, name), **options),
        torch.tensor(values, dtype=getattr(torch, name), **options),
    )


def values(x: Any) -> np.ndarray:
    """The values of a tensor of either, bfloat16 as float32."""
    x = x.detach()
    return x.float().numpy() if "bfloat16" in str(x.dtype) else x.numpy()


def check(ours: Any, theirs: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Assert equal types, shapes and values; tuples element by element."""
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            check(a, b, rtol, atol)
        return
    if not hasattr(theirs, "dtype"):
        assert ours == theirs or (ours != ours and theirs != theirs)
        return
    assert str(ours.dtype).rpartition(".")[2] == str(theirs.dtype).rpartition(".")[2]
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(values(ours), values(theirs), rtol=rtol, atol=atol)


def outcome(run: Any) -> Any:
    """The result of a call, or the built-in exception types that it raised."""
    try:
        return run()
    except (RuntimeError, TypeError, ValueError, IndexError, ZeroDivisionError) as problem:
        return problem
