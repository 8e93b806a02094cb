"""Reading and writing with every kind of index, against NumPy and PyTorch."""

import numpy as np
import pytest
from torch_compare import assert_same, compare, lazy, lazy_of, torch

import lazygrad
from lazygrad.errors import LazygradError, OutOfBoundsError

SHAPE = (4, 3, 5)


def random_index(rng, shape, ndim_left=True):
    """A random index of a tensor of `shape`, as a tuple of NumPy-side items."""
    items, axis = [], 0
    broadcast = [(), (2,), (3, 2), (1, 2)][rng.integers(4)]
    while axis < len(shape):
        kind = rng.choice(["int", "slice", "full", "none", "array", "mask", "stop", "bool", "list"])
        size = shape[axis]
        if kind == "int":
            items.append(int(rng.integers(-size, size)))
        elif kind == "slice":
            a, b = (None if rng.random() < 0.3 else int(rng.integers(-size - 1, size + 2)) for _ in range(2))
            items.append(slice(a, b, [None, 1, 2, 3][rng.integers(4)]))
        elif kind == "full":
            items.append(slice(None))
        elif kind == "none":
            items.append(None)
            continue
        elif kind == "array":
            items.append(rng.integers(-size, size, broadcast))
        elif kind == "list" and len(broadcast) == 1:
            items.append(rng.integers(0, size, broadcast).tolist())
        elif kind == "mask":
            ndim = int(rng.integers(1, len(shape) - axis + 1))
            mask = np.zeros(shape[axis:axis + ndim], bool)
            mask.reshape(-1)[rng.permutation(mask.size)[:2]] = (
                True  # two places, to broadcast with the arrays
            )
            items.append(mask)
            axis += ndim
            continue
        elif kind == "bool" and not any(i is True for i in items):
            items.append(True)
            continue
        elif kind == "stop":
            break
        else:
            continue
        axis += 1
    if (rng.random() < 0.4 and axis < len(shape)) or rng.random() < 0.1:
        items.append(Ellipsis)
        if axis < len(shape) and rng.random() < 0.5:
            items.append(int(rng.integers(shape[-1])))
    return tuple(items)


def to_torch(index):
    return tuple(torch.tensor(i) if isinstance(i, np.ndarray) else i for i in index)


def to_lazy(index, device):
    return tuple(lazy.tensor(i, device=device) if isinstance(i, np.ndarray) and i.ndim else
                 (int(i) if isinstance(i, np.ndarray) else i) for i in index)


@pytest.mark.parametrize("seed", range(150))
def test_random_index(seed, device):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(SHAPE)
    index = random_index(rng, SHAPE)
    x = torch.tensor(values, requires_grad=True)
    ours = lazy_of(values, device, True)
    want = x[to_torch(index)]
    got = ours[to_lazy(index, device)]
    assert_same(got, want)
    weights = rng.standard_normal(tuple(want.shape))
    (want * torch.tensor(weights)).sum().backward()
    (got * lazy_of(weights, device)).sum().backward()
    assert_same(ours.grad, x.grad)


@pytest.mark.parametrize("seed", range(150))
def test_random_assignment(seed, device):
    rng = np.random.default_rng(1000 + seed)
    values = rng.standard_normal(SHAPE)
    index = random_index(rng, SHAPE)
    x, ours = torch.tensor(values), lazy_of(values, device)
    shape = tuple(x[to_torch(index)].shape)
    for cut in range(rng.integers(0, len(shape) + 1)):
        shape = tuple(1 if i == cut and rng.random() < 0.5 else n for i, n in enumerate(shape))
    new = rng.standard_normal(shape[rng.integers(0, len(shape) + 1):])
    if rng.random() < 0.3:
        new = np.asarray(2.5)
    given = values.copy()
    try:
        x[to_torch(index)] = torch.tensor(new)
    except (RuntimeError, IndexError):
        with pytest.raises(LazygradError):
            ours[to_lazy(index, device)] = lazy_of(new, device)
        return
    base, source = lazy_of(values, device, True), lazy_of(new, device, True)
    theirs, their_source = torch.tensor(values, requires_grad=True), torch.tensor(new, requires_grad=True)
    alias = ours[...]
    ours[to_lazy(index, device)] = lazy_of(new, device)
    if _has_repeats(index):
        return  # which of two writes to one place stays is not said
    assert_same(ours, x)
    assert_same(alias, x)
    assert np.array_equal(given, values)
    copied, their_copy = base * 1, theirs * 1
    copied[to_lazy(index, device)] = source
    their_copy[to_torch(index)] = their_source
    (copied * copied).sum().backward()
    (their_copy * their_copy).sum().backward()
    for got, want in ((base.grad, theirs.grad), (source.grad, their_source.grad)):
        if got is None:  # everything was overwritten: no gradient is the gradient 0
            assert not want.any()
        else:
            assert_same(got, want)


def _has_repeats(index):
    count = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    places = torch.tensor(count)[to_torch(index)].reshape(-1).tolist()
    return len(set(places)) != len(places)


def test_out_of_bounds(device):
    x = lazy.arange(20, device=device).reshape(4, 5)
    message = r"index 7 is out of bounds for dimension 0 with size 4"
    for index in (
        7,
        [7],
        lazy.tensor([7], device=device),
        lazy.tensor([7], device=device) * 1,
        np.array([1, 7]),
    ):
        with pytest.raises(OutOfBoundsError, match=message):
            x[index]
        with pytest.raises(OutOfBoundsError, match=message):
            x[index] = 0
    with pytest.raises(IndexError, match="index -5"):
        x[[-5]]
    with pytest.raises(IndexError, match="too many indices"):
        x[0, 0, 0]
    with pytest.raises(IndexError, match="mask"):
        x[lazy.tensor([True, False], device=device)]
    with pytest.raises(IndexError):
        x[1.0]
    with pytest.raises(IndexError):
        x[lazy.tensor([1.0], device=device)]
    with pytest.raises(ValueError, match="greater than zero"):
        x[::-1]
    with pytest.raises(RuntimeError, match="must match"):
        x[0] = lazy.tensor([1, 2], device=device)
    for call in (
        lambda i: x.gather(0, i.expand(1, 5)),
        lambda i: x.index_select(0, i),
        lambda i: x.take(i + 90),
        lambda i: x.scatter(0, i.expand(1, 5), 0),
        lambda i: x.index_add(0, i, x[:1]),
        lambda i: lazy.embedding(x, i),
    ):
        with pytest.raises(OutOfBoundsError):
            call(lazy.tensor([4], device=device))


def test_proven_index_is_not_realized(device):
    x = lazy.tensor(np.random.rand(6), device=device)
    table = lazy.tensor(np.random.rand(6, 2), device=device)
    order = x.argsort() if hasattr(x, "argsort") else lazy.arange(6, device=device) * 1
    rows = table[order % 3]
    assert not order.cell.is_realized and not rows.cell.is_realized
    tokens = lazy.tensor([1, 2, 5], device=device)
    shifted = tokens - 1
    picked = table[shifted]
    assert not shifted.cell.is_realized and not picked.cell.is_realized
    with pytest.raises(OutOfBoundsError):
        table[tokens + 1]


def test_views_share_storage(device):
    x = lazy.zeros(3, 4, device=device)
    row = x[1]
    x[:, ::2] = 5
    assert row.tolist() == [5, 0, 5, 0]
    row[lazy.tensor([1, 3], device=device)] = lazy.tensor([1., 2.], device=device)
    assert x[1].tolist() == [5, 1, 5, 2]
    row[row > 4] = -1
    assert x[1].tolist() == [-1, 1, -1, 2]
    x[0, 0], x[0, 1] = x[0, 1], x[0, 0]
    assert x[0].tolist() == [0, 0, 5, 0]
    x[1:, 1:][0, 0] += 10
    assert x[1].tolist() == [-1, 11, -1, 2]


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_gather_scatter(dim, device):
    rng = np.random.default_rng(3)
    x, source = rng.standard_normal((3, 4, 5)), rng.standard_normal((3, 4, 5))
    index = rng.integers(0, 3, (2, 3, 4))
    lead = rng.permuted(np.broadcast_to(np.arange(3).reshape(3, 1, 1), (3, 4, 5)), axis=0)
    compare(device, lambda t, a, i: t.gather(a, dim, i), x, index)
    compare(device, lambda t, a, i, s: t.scatter_add(a, dim, i, s), x, index, source, gradients=False)
    source = source[:2, :3, :4]
    compare(device, lambda t, a, i, s: t.scatter_add(a, dim, i, s), x, index, source)
    compare(device, lambda t, a, i, s: a.scatter(0, i, s), x, lead, x[::-1].copy())
    compare(device, lambda t, a, i: a.scatter(dim, i, 2.5), x, index)
    compare(
        device, lambda t, a, i: a.clone().scatter_(dim, i, 2.0, reduce="multiply"), x, index, gradients=False
    )
    for reduction in ("sum", "prod", "mean", "amax", "amin"):
        for include in (True, False):
            compare(
                device,
                lambda t, a, i, s, r=reduction, k=include: a.scatter_reduce(dim, i, s, r, include_self=k),
                x,
                index,
                source,
            )


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_index_functions(dim, device):
    rng = np.random.default_rng(4)
    x, rows = rng.standard_normal((3, 4, 5)), rng.standard_normal((3, 4, 5)).take([0, 1], dim)
    index = np.array([2, 0])
    compare(device, lambda t, a, i: t.index_select(a, dim, i), x, index)
    compare(device, lambda t, a, i, s: a.index_add(dim, i, s, alpha=2), x, index, rows)
    compare(device, lambda t, a, i, s: a.index_copy(dim, i, s), x, index, rows)
    compare(device, lambda t, a, i: a.index_fill(dim, i, 7), x, index)
    compare(
        device, lambda t, a, i, s: a.clone().index_reduce_(dim, i, s, "amax"), x, index, rows, gradients=False
    )


def test_flat_and_masked(device):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((3, 4))
    mask = rng.random((3, 4)) > 0.5
    compare(device, lambda t, a, i: t.take(a, i), x, np.array([[0, -1], [5, 5]]))
    compare(device, lambda t, a, i: t.take_along_dim(a, i, 1), x, np.array([[0], [3], [1]]))
    compare(device, lambda t, a, i: t.take_along_dim(a, i), x, np.array([3, 11]))
    compare(device, lambda t, a, m: t.masked_select(a, m), x, mask)
    compare(device, lambda t, a, m: t.masked_select(a, m[0]), x, mask)
    compare(device, lambda t, a, m, s: a.masked_scatter(m, s), x, mask, rng.standard_normal(12))
    compare(device, lambda t, m: t.nonzero(m), mask)
    compare(device, lambda t, m: t.nonzero(m, as_tuple=True), mask)
    compare(device, lambda t, m: t.where(m), mask)
    compare(
        device,
        lambda t, a, i, s: a.index_put((i, i), s, True),
        x,
        np.array([0, 1, 1]),
        rng.standard_normal(3),
    )
    compare(device, lambda t, w, i: t.embedding(w, i, 1), x, np.array([[0, 1], [1, 2]]))
    with pytest.raises(RuntimeError, match="number of ones"):
        lazy_of(x, device).masked_scatter(
            lazy_of(np.ones((3, 4), bool), device), lazy_of(np.zeros(3), device)
        )


def test_empty_and_scalar(device):
    x = lazy.zeros(0, 3, device=device)
    assert x[lazy.zeros(0, dtype=lazy.int64, device=device)].shape == (0, 3)
    assert lazy.ones(3, device=device)[[]].shape == (0,)
    assert lazy.tensor(3.0, device=device)[None].shape == (1,)
    assert lazy.tensor(3.0, device=device)[...].item() == 3.0
    assert lazy.tensor(3.0, device=device)[True].shape == (1,)
    assert lazy.ones(2, 2, device=device)[lazy.zeros(2, 2, dtype=lazy.bool, device=device)].shape == (0,)
    y = lazy.ones(3, device=device)
    y[lazy.tensor([False, False, False], device=device)] = lazy.zeros(0, device=device)
    assert y.tolist() == [1, 1, 1]


def test_large_mask(device):
    x = np.random.default_rng(6).standard_normal((150, 160))
    compare(device, lambda t, a: a[a > 1], x)
    compare(device, lambda t, a: t.nonzero(a > 1), x, gradients=False)
    compare(device, lambda t, a: t.nonzero(a > 9), x, gradients=False)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_many_values_at_one_place_are_rounded_once(device: str, name: str) -> None:
    rng = np.random.default_rng(4)
    places = rng.integers(0, 5, 2000)
    dtype = getattr(lazygrad, name)
    index = lazygrad.tensor(places, device=device)
    zeros, ones = (lazygrad.full((5,), value, dtype=dtype, device=device) for value in (0, 1))
    x = lazygrad.tensor(rng.uniform(-2, 2, 2000), device=device).to(dtype)
    exact = np.bincount(places, x.double().numpy())
    near_one = lazygrad.tensor(rng.uniform(0.9, 1.1, 2000), device=device).to(dtype)
    product = np.ones(5)
    np.multiply.at(product, places, near_one.double().numpy())
    mean = (1 + exact) / (1 + np.bincount(places))
    for found, want in (
        (zeros.scatter_add(0, index, x), exact),
        (zeros.scatter_reduce(0, index, x, "sum"), exact),
        (ones.scatter_reduce(0, index, x, "mean"), mean),
        (ones.scatter_reduce(0, index, near_one, "prod"), product),
    ):
        np.testing.assert_allclose(found.double().numpy(), want, rtol=1.5e-3 if name == "float16" else 1.2e-2)


def test_no_place_of_a_number_is_filled(device):
    none = np.zeros(0, np.int64)
    compare(device, lambda t, x, i: x.index_fill(0, i, 7.0), np.array(5.0), none)
    compare(device, lambda t, x, i: x.index_fill(0, i, 7.0), np.array(5.0), none + np.zeros((1,), np.int64))
