"""Modules beside PyTorch's: equal weights, equal inputs, and everything that comes of them compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lazygrad
from lazygrad import nn


def same_weights(ours: Any, theirs: Any) -> Any:
    """Our module with the state of PyTorch's, whose keys and shapes it must have in the same order."""
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict({k: lazygrad.tensor(v.detach().numpy()) for k, v in state.items()})
    return ours


def tensors_in(value: Any) -> list[Any]:
    """The tensors of a result, in order."""
    if isinstance(value, tuple | list):
        return [t for part in value for t in tensors_in(part)]
    return [] if value is None else [value]


def mapped(value: Any, change: Any) -> Any:
    """An argument with every array in it changed."""
    if isinstance(value, tuple):
        return tuple(mapped(part, change) for part in value)
    return change(value) if isinstance(value, np.ndarray) else value


def as_tensors(library: Any, values: Any, dtype: str, **where: Any) -> tuple[Any, list[Any]]:
    """Arguments as tensors of a library, and those of them that want gradients: the floating ones."""
    leaves: list[Any] = []

    def tensor(array: np.ndarray) -> Any:
        if array.dtype.kind != "f":
            return library.tensor(array, **where)
        leaves.append(library.tensor(array, dtype=getattr(library, dtype), **where).requires_grad_())
        return leaves[-1]

    return mapped(values, tensor), leaves


def compare_modules(
    text: str,
    inputs: list[Any],
    dtype: str = "float32",
    device: str = "cpu",
    train: bool = True,
    **options: Any,
) -> None:
    """Assert that a module, `nn.` and a text, prints, computes and differentiates as PyTorch's.

    Inputs and options are arrays, tuples of them, or anything else that is passed on.
    """
    torch = pytest.importorskip("torch")
    theirs = eval(f"nn.{text}", {"nn": torch.nn, "F": torch.nn.functional}).to(getattr(torch, dtype))
    ours = eval(f"nn.{text}", {"nn": nn, "F": nn.functional}).to(getattr(lazygrad, dtype))
    assert repr(ours) == repr(theirs)
    assert [tuple(p.shape) for p in ours.parameters()] == [tuple(p.shape) for p in theirs.parameters()]
    with torch.no_grad():
        for p in theirs.parameters():
            p.uniform_(-1, 1)
    same_weights(ours, theirs).to(device)
    ours.train(train), theirs.train(train)
    (mine, my_options), my_leaves = as_tensors(
        lazygrad, (tuple(inputs), tuple(options.values())), dtype, device=device
    )
    (yours, your_options), your_leaves = as_tensors(torch, (tuple(inputs), tuple(options.values())), dtype)
    out = tensors_in(ours(*mine, **dict(zip(options, my_options, strict=True))))
    expected = tensors_in(theirs(*yours, **dict(zip(options, your_options, strict=True))))
    compare(out, expected, dtype)
    sum((t * t * (k + 1)).sum() for k, t in enumerate(out) if t.requires_grad).backward()
    sum((t * t * (k + 1)).sum() for k, t in enumerate(expected) if t.requires_grad).backward()
    compare(
        [p.grad for p in (*my_leaves, *ours.parameters())],
        [p.grad for p in (*your_leaves, *theirs.parameters())],
        dtype,
    )


def compare(ours: list[Any], theirs: list[Any], dtype: str) -> None:
    """Assert equal shapes and types, and values as near as the type allows."""
    assert len(ours) == len(theirs)
    near = {"rtol": 1e-9, "atol": 1e-10} if dtype == "float64" else {"rtol": 2e-4, "atol": 2e-4}
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert tuple(a.shape) == tuple(b.shape)
            assert str(a.dtype).rpartition(".")[2] == str(b.dtype).rpartition(".")[2]
            np.testing.assert_allclose(a.detach().cpu().numpy(), b.detach().numpy(), **near)
