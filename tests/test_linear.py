"""Contractions and joining against PyTorch: values, gradients, dtypes and errors."""

import numpy as np
import pytest
from torch_compare import assert_same, compare, lazy, lazy_of, torch

from lazygrad.errors import LazygradError

rng = np.random.default_rng(0)


def arrays(*shapes):
    return [rng.standard_normal(s) for s in shapes]


@pytest.mark.parametrize(
    "shapes",
    [
        [(3,), (3,)],
        [(2, 3), (3,)],
        [(3,), (3, 4)],
        [(2, 3), (3, 4)],
        [(5, 1, 2, 3), (4, 3, 2)],
        [(2, 3, 4), (4,)],
        [(3,), (2, 3, 4)],
        [(0, 3), (3, 2)],
        [(2, 0), (0, 3)],
        [(1, 1), (1, 5)],
    ],
    ids=str,
)
def test_matmul(shapes, device):
    compare(device, lambda t, x, y: t.matmul(x, y), *arrays(*shapes))


def test_matmul_errors(device):
    x, y = lazy.zeros(3, 4, device=device), lazy.zeros(3, 5, device=device)
    with pytest.raises(RuntimeError, match=r"\[matmul\] \(3, 4\) @ \(3, 5\): inner sizes differ, 4 and 3"):
        x @ y
    with pytest.raises(RuntimeError, match="1D"):
        x @ lazy.tensor(1.0, device=device)
    with pytest.raises(RuntimeError, match="one dtype"):
        x @ lazy.zeros(4, 5, dtype=lazy.float64, device=device)
    with pytest.raises(RuntimeError, match="bool"):
        (x > 0) @ (y > 0)
    with pytest.raises(RuntimeError, match="dimension"):
        lazy.mm(x, lazy.zeros(4, device=device))
    with pytest.raises(RuntimeError, match="batch"):
        lazy.bmm(lazy.zeros(2, 3, 4, device=device), lazy.zeros(3, 4, 5, device=device))
    with pytest.raises(LazygradError):
        lazy.zeros(2, 3, 4, device=device) @ lazy.zeros(3, 4, 5, device=device)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "int8", "float16", "bfloat16", "float32"])
def test_matmul_dtypes(dtype, device):
    x, y = rng.integers(0, 9, (3, 40)), rng.integers(0, 9, (40, 4))
    want = torch.tensor(x).to(getattr(torch, dtype)) @ torch.tensor(y).to(getattr(torch, dtype))
    got = lazy_of(x, device).to(getattr(lazy, dtype)) @ lazy_of(y, device).to(getattr(lazy, dtype))
    assert got.dtype.name == dtype
    assert_same(got.double(), want.double())


@pytest.mark.parametrize(
    "equation, shapes",
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("ii->i", [(3, 3)]),
        ("ii", [(3, 3)]),
        ("bij,bjk", [(2, 3, 4), (2, 4, 5)]),
        ("...ij,...jk->...ik", [(5, 1, 3, 4), (6, 4, 2)]),
        ("i,j,k->kji", [(2,), (3,), (4,)]),
        ("abc,cd,bd->a", [(2, 3, 4), (4, 5), (3, 5)]),
        ("ij->", [(2, 3)]),
        ("iij,jk->ik", [(3, 3, 2), (2, 4)]),
        ("ij,j", [(2, 3), (3,)]),
        ("...i->...", [(2, 3, 4)]),
        ("iji->j", [(3, 2, 3)]),
        ("...,...", [(2, 3), (3,)]),
        ("i...,i...->...", [(2, 3), (2, 3)]),
        ("ij,ij->ij", [(2, 1), (2, 3)]),
        ("b i, b j -> b i j", [(2, 3), (2, 4)]),
        ("iii->i", [(2, 2, 2)]),
    ],
    ids=str,
)
def test_einsum(equation, shapes, device):
    compare(device, lambda t, *xs: t.einsum(equation, *xs), *arrays(*shapes))


def test_einsum_lists_and_errors(device):
    compare(device, lambda t, x, y: t.einsum(x, [0, 1], y, [1, 2], [0, 2]), *arrays((2, 3), (3, 4)))
    compare(device, lambda t, x, y: t.einsum(x, [..., 1], y, [1, 2]), *arrays((2, 3), (3, 4)))
    x = lazy.zeros(2, 3, device=device)
    for equation in ("ij,jk", "ijk", "ij->ik", "i1", "ij->ii"):
        with pytest.raises(LazygradError):
            lazy.einsum(equation, x)
    with pytest.raises(RuntimeError, match="size"):
        lazy.einsum("ij,jk", x, x)


PRODUCTS = {
    "mm": (lambda t, x, y: t.mm(x, y), [(2, 3), (3, 4)]),
    "bmm": (lambda t, x, y: t.bmm(x, y), [(2, 2, 3), (2, 3, 4)]),
    "mv": (lambda t, x, y: x.mv(y), [(2, 3), (3,)]),
    "dot": (lambda t, x, y: x.dot(y), [(3,), (3,)]),
    "inner": (lambda t, x, y: t.inner(x, y), [(2, 3), (4, 5, 3)]),
    "outer": (lambda t, x, y: t.outer(x, y), [(2,), (3,)]),
    "addmm": (lambda t, b, x, y: t.addmm(b, x, y, beta=0.5, alpha=2), [(4,), (2, 3), (3, 4)]),
    "addmv": (lambda t, b, x, y: t.addmv(b, x, y), [(2,), (2, 3), (3,)]),
    "baddbmm": (lambda t, b, x, y: t.baddbmm(b, x, y, beta=0), [(5, 2, 4), (5, 2, 3), (5, 3, 4)]),
    "addbmm": (lambda t, b, x, y: t.addbmm(b, x, y), [(2, 4), (5, 2, 3), (5, 3, 4)]),
    "tensordot": (lambda t, x, y: t.tensordot(x, y, 2), [(2, 3, 4), (3, 4, 5)]),
    "tensordot lists": (lambda t, x, y: t.tensordot(x, y, ([0, 2], [1, 0])), [(2, 3, 4), (4, 2, 5)]),
    "linear": (
        lambda t, x, w, b: (torch.nn.functional if t is torch else t).linear(x, w, b),
        [(5, 2, 3), (4, 3), (4,)],
    ),
    "linear vector": (
        lambda t, x, w: (torch.nn.functional if t is torch else t).linear(x, w),
        [(3,), (4, 3)],
    ),
    "bilinear": (
        lambda t, x, y, w, b: (torch.nn.functional if t is torch else t).bilinear(x, y, w, b),
        [(5, 2), (5, 3), (4, 2, 3), (4,)],
    ),
    "trace": (lambda t, x: t.trace(x), [(3, 4)]),
    "kron": (lambda t, x, y: t.kron(x, y), [(2, 3), (3, 1, 2)]),
    "cdist 2": (lambda t, x, y: t.cdist(x, y), [(2, 4, 3), (5, 3)]),
    "cdist 1": (lambda t, x, y: t.cdist(x, y, p=1), [(4, 3), (5, 3)]),
    "cdist 3": (lambda t, x, y: t.cdist(x, y, p=3.0), [(4, 3), (5, 3)]),
    "cdist inf": (lambda t, x, y: t.cdist(x, y, p=float("inf")), [(4, 3), (5, 3)]),
    "pairwise": (
        lambda t, x, y: (torch.nn.functional if t is torch else t).pairwise_distance(x, y),
        [(4, 3), (4, 3)],
    ),
    "cosine": (lambda t, x, y: t.cosine_similarity(x, y, dim=-1), [(4, 3), (4, 3)]),
    "matrix_power": (lambda t, x: t.matrix_power(x, 5), [(3, 3)]),
    "addr": (lambda t, b, x, y: t.addr(b, x, y), [(2, 3), (2,), (3,)]),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name, device):
    function, shapes = PRODUCTS[name]
    compare(device, function, *arrays(*shapes))


JOINS = {
    "cat": (lambda t, x, y: t.cat([x, y], -1), [(2, 3), (2, 4)]),
    "cat empty": (lambda t, x, y: t.cat([x, y]), [(0,), (2, 4)]),
    "stack": (lambda t, x, y: t.stack((x, y), -1), [(2, 3), (2, 3)]),
    "hstack": (lambda t, x, y: t.hstack([x, y]), [(2,), (3,)]),
    "vstack": (lambda t, x, y: t.vstack([x, y]), [(3,), (2, 3)]),
    "dstack": (lambda t, x, y: t.dstack([x, y]), [(2, 3), (2, 3)]),
    "column_stack": (lambda t, x, y: t.column_stack([x, y]), [(2,), (2, 3)]),
    "hsplit": (lambda t, x: t.hsplit(x, 2), [(2, 4)]),
    "repeat": (lambda t, x: x.repeat(2, 1, 3), [(2, 3)]),
    "tile": (lambda t, x: t.tile(x, (2,)), [(2, 3)]),
    "repeat_interleave": (lambda t, x: t.repeat_interleave(x, 2, 1), [(2, 3)]),
    "repeat_interleave flat": (lambda t, x: x.repeat_interleave(2), [(2, 3)]),
    "repeat_interleave counts": (lambda t, x: t.repeat_interleave(x, t.tensor([0, 2, 1]), 1), [(2, 3)]),
    "roll": (lambda t, x: t.roll(x, (1, -2), (0, 1)), [(2, 3)]),
    "roll flat": (lambda t, x: t.roll(x, 4), [(2, 3)]),
    **{f"rot90 {k}": (lambda t, x, k=k: t.rot90(x, k, (0, 2)), [(2, 3, 4)]) for k in range(-1, 4)},
    "meshgrid": (lambda t, x, y: t.meshgrid(x, y, indexing="xy"), [(2,), (3,)]),
    "cartesian_prod": (lambda t, x, y: t.cartesian_prod(x, y), [(2,), (3,)]),
    "combinations": (lambda t, x: t.combinations(x, 2), [(4,)]),
    **{f"tril {k}": (lambda t, x, k=k: (t.tril(x, k), t.triu(x, k)), [(2, 3, 4)]) for k in range(-4, 5)},
    **{
        f"diag {k}": (lambda t, x, y, k=k: (t.diag(x, k), t.diag(y, k)), [(3,), (3, 4)]) for k in range(-2, 3)
    },
    "diag_embed": (lambda t, x: t.diag_embed(x, 1, 0, 2), [(2, 3)]),
    "diagflat": (lambda t, x: t.diagflat(x), [(2, 2)]),
    "block_diag": (lambda t, x, y: t.block_diag(x, y), [(2, 3), (2,)]),
}


@pytest.mark.parametrize("name", JOINS)
def test_joining(name, device):
    function, shapes = JOINS[name]
    compare(device, function, *arrays(*shapes))


def test_joining_integers(device):
    compare(device, lambda t, x, y: t.cat([x, y]), np.arange(3), np.ones(2, np.float32))
    compare(
        device, lambda t, x: (torch.nn.functional if t is torch else t).one_hot(x), np.array([[0, 2], [1, 1]])
    )
    compare(device, lambda t, x: t.tril_indices(3, 4, 1) + x, np.zeros((), np.int64))
    compare(device, lambda t, x: t.triu_indices(3, 4, -1) + x, np.zeros((), np.int64))
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        lazy.cat([lazy.zeros(2, 3, device=device), lazy.zeros(3, 4, device=device)])
    with pytest.raises(RuntimeError, match="equal size"):
        lazy.stack([lazy.zeros(2, device=device), lazy.zeros(3, device=device)])
    with pytest.raises(RuntimeError, match="non-empty"):
        lazy.cat([])
    with pytest.raises(IndexError):
        lazy.one_hot(lazy.tensor([3], device=device), 2)
