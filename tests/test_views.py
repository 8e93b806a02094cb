"""Views and writes: every alias sees a write, an older lazy result never does. The same program on
PyTorch."""

# ruff: noqa: B023 (every lambda runs where it stands)
from __future__ import annotations

import operator
import random

import pytest
from torch_support import both, check, outcome, pytorch

import lazygrad

VIEWS = {
    "select": lambda x, r: x.select(r.randrange(x.ndim), -1),
    "narrow": lambda x, r: x.narrow(0, min(1, x.shape[0]), max(x.shape[0] - 1, 0)),
    "slice": lambda x, r: x[..., ::2],
    "step": lambda x, r: x[1::2],
    "index": lambda x, r: x[0],
    "permute": lambda x, r: x.permute(*reversed(range(x.ndim))),
    "transpose": lambda x, r: x.transpose(0, -1),
    "unsqueeze": lambda x, r: x.unsqueeze(r.randrange(x.ndim + 1)),
    "squeeze": lambda x, r: x.squeeze(),
    "flatten": lambda x, r: x.flatten(),
    "reshape": lambda x, r: x.reshape(-1),
    "view": lambda x, r: x.view(-1, 1),
    "unflatten": lambda x, r: x.unsqueeze(0).unflatten(0, (1, 1)),
    "chunk": lambda x, r: x.chunk(2)[-1],
    "split": lambda x, r: x.split(2, -1)[0],
    "unbind": lambda x, r: x.unbind(-1)[0],
    "diagonal": lambda x, r: x.diagonal(r.choice((-1, 0, 1)), 0, -1),
    "unfold": lambda x, r: x.unfold(-1, 2, 2),
    "movedim": lambda x, r: x.movedim(0, -1),
    "detach": lambda x, r: x.detach(),
    "data": lambda x, r: x.data,
    "expand": lambda x, r: x.expand(*x.shape),
    "T": lambda x, r: x.mT,
}
WRITES = {
    "add_": lambda x, r: x.add_(r.randrange(5)),
    "mul_": lambda x, r: x.mul_(2),
    "fill_": lambda x, r: x.fill_(r.randrange(9)),
    "zero_": lambda x, r: x.zero_(),
    "copy_": lambda x, r: x.copy_(x.flip(0)),
    "setitem": lambda x, r: x.__setitem__(0, 7),
    "iadd": lambda x, r: x.__iadd__(1),
    "clamp_": lambda x, r: x.clamp_(1, 20),
}


def _program(base, seed):
    """A random chain of views and writes on `base`; all aliases and an older result, for comparison."""
    r = random.Random(seed)
    aliases, older = [base], []
    for _ in range(r.randrange(2, 9)):
        target = r.choice(aliases)
        if r.random() < 0.6:
            name = r.choice(sorted(VIEWS))
            got = outcome(lambda: VIEWS[name](target, r))
            if not isinstance(got, Exception):
                aliases.append(got)
            else:
                aliases.append(target)
                older.append(type(got).__mro__[-3].__name__ if False else "error")
        else:
            older.append(target * 10)
            name = r.choice(sorted(WRITES))
            outcome(lambda: WRITES[name](target, r))
    return aliases, older


@pytest.mark.parametrize("seed", range(150))
def test_random_views_and_writes(seed):
    shape = random.Random(seed).choice(((4,), (3, 4), (2, 3, 4), (1, 5), (0, 3), (2, 2, 2, 3)))
    count = 1
    for n in shape:
        count *= n
    ours, theirs = both(list(range(count)), dtype="float32")
    a, older_a = _program(ours.view(shape), seed)
    b, older_b = _program(theirs.view(shape), seed)
    for x, y in zip(older_a, older_b, strict=True):
        check(x, y)
    for x, y in zip(a, b, strict=True):
        check(x, y)
        if x.numel():
            assert x.stride() == y.stride()
            assert x.is_contiguous() == y.is_contiguous()
            assert x.storage_offset() == y.storage_offset()
    check(ours, theirs)


def test_older_result_does_not_see_a_later_write():
    w = lazygrad.tensor([1.0, 2.0])
    y = w * 10
    w += 1
    assert y.tolist() == [10.0, 20.0]
    v = w[0:1]
    z = w * 10
    v += 5
    assert z.tolist() == [20.0, 30.0]
    assert w.tolist() == [7.0, 3.0]
    row = lazygrad.zeros(2, 2)
    used = row + 1
    row[0] = 9
    assert used.tolist() == [[1, 1], [1, 1]]
    assert row.tolist() == [[9, 9], [0, 0]]


def test_every_alias_sees_a_write():
    x = lazygrad.zeros(2, 3)
    flat, transposed, row = x.view(-1), x.t(), x[1]
    x += 1
    flat[0] = 5
    transposed[2, 1] = 7
    assert x.tolist() == [[5, 1, 1], [1, 1, 7]]
    assert row.tolist() == [1, 1, 7]
    assert flat._version == x._version == 3


def test_reshape_is_a_view_exactly_where_pytorch_has_one():
    torch = pytorch()
    cases = [
        ((2, 3, 4), (6, 4)),
        ((2, 3, 4), (2, 12)),
        ((2, 3, 4), (4, 6)),
        ((1, 3, 1), (3,)),
        ((6, 1), (2, 3, 1)),
    ]
    orders = {3: [(0, 1, 2), (1, 0, 2), (2, 0, 1), (0, 2, 1)], 2: [(0, 1), (1, 0)]}
    for shape, new in cases:
        for order in orders[len(shape)]:
            x, y = lazygrad.zeros(shape).permute(order), torch.zeros(shape).permute(order)
            a, b = x.reshape(new), y.reshape(new)
            b.fill_(1)
            a.fill_(1)
            assert bool(x.sum() == 0) == bool(y.sum() == 0), (shape, order, new)
            assert isinstance(outcome(lambda: x.view(new)), Exception) == isinstance(
                outcome(lambda: y.view(new)), Exception
            )


def test_writing_to_an_expanded_view_is_refused():
    x = lazygrad.zeros(3, 1).expand(3, 4)
    with pytest.raises(
        RuntimeError, match=r"\[add_\].*more than one element of the written-to tensor refers"
    ):
        x.add_(1)
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        lazygrad.zeros(2, 3).t().view(-1)


def test_as_strided_reads_and_writes_the_storage():
    ours, theirs = both(list(range(10)), dtype="float32")
    a, b = ours.as_strided((3, 2), (2, 1), 1), theirs.as_strided((3, 2), (2, 1), 1)
    check(a, b)
    a.mul_(10)
    b.mul_(10)
    check(ours, theirs)
    check(ours[2:].as_strided((2,), (3,)), theirs[2:].as_strided((2,), (3,)))
    with pytest.raises(RuntimeError, match="out of bounds"):
        ours.as_strided((20,), (1,))


def test_as_strided_of_a_view_of_the_bits_keeps_its_type():
    ours, theirs = both([1.5, -2.0, 3.0, 0.25], dtype="float32")
    a, b = (m.view(t.int32).as_strided((2, 2), (1, 2)) for m, t in ((ours, lazygrad), (theirs, pytorch())))
    check(a, b)
    for y in (a, b):
        y[0, 1] = 0
    check(ours, theirs)


def test_data_and_detach_share_storage():
    x = lazygrad.ones(3, requires_grad=True)
    x.data.mul_(3)
    assert x.tolist() == [3, 3, 3]
    x.data = lazygrad.zeros(2)
    assert x.shape == (2,)
    assert x.requires_grad
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2, 2]
    y = x.detach()
    y += 1
    assert x.tolist() == [1, 1]


def test_new_storage_of_what_an_operation_made(device):
    """The derivative stays, the value is the new one; views of the old value keep that."""
    for m in (lazygrad, pytorch()):
        where = {"device": device} if m is lazygrad else {}
        x = m.tensor([1.0, 2.0], requires_grad=True, **where)
        y = x * 3
        part = y[:1]
        y.data = m.tensor([5.0, 6.0], **where)
        assert y.tolist() == [5, 6] and part.tolist() == [3] and y.requires_grad and not y.is_leaf
        (y * y).sum().backward()
        assert x.grad.tolist() == [30, 36]
        z = x.exp()
        before = z * 2
        z.data = z.data * 0 + 10  # as rules of relevance do, in hooks
        (z + before.detach() * 0).sum().backward()
        assert [round(g, 3) for g in x.grad.tolist()] == [32.718, 43.389]
        with pytest.raises(RuntimeError):
            x.exp().data = m.zeros(2, dtype=m.int32, **where)


def test_storage_that_a_leaf_is_a_part_of_is_not_written(device):
    for m in (lazygrad, pytorch()):
        whole = m.ones(4, device=device) if m is lazygrad else m.ones(4)
        leaf = whole[1:].requires_grad_()
        strided = leaf.as_strided((2,), (1,), 0)
        with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
            strided.add_(1)
        strided.sum().backward()
        assert leaf.grad.tolist() == [1, 0, 0] and whole.tolist() == [1] * 4
        with m.no_grad():
            leaf.as_strided((2,), (1,), 0).add_(1)
        assert whole.tolist() == [2, 2, 1, 1]


def test_view_as_another_type_of_the_same_width():
    ours, theirs = both([1.0, -2.0])
    check(ours.view(lazygrad.int32), theirs.view(pytorch().int32))
    ours.view(lazygrad.int32)[0] = 0
    assert ours.tolist() == [0.0, -2.0]


def test_views_of_bad_shapes_name_both_sides():
    x = lazygrad.zeros(2, 3)
    with pytest.raises(RuntimeError, match=r"\[view\] shape '\[4, -1\]' is invalid for input of size 6"):
        x.view(4, -1)
    with pytest.raises(
        IndexError,
        match=r"Dimension out of range \(expected to be in range of \[-2, 1\], "
        r"but got 2\)",
    ):
        x.transpose(0, 2)
    with pytest.raises(RuntimeError, match="must match the existing size"):
        x.expand(4, 3)


def test_writing_through_parts_of_an_expanded_tensor(device):
    base = lazygrad.zeros(1, 3, device=device)
    expanded = base.expand(2, 3)
    expanded[0] = 1
    assert expanded.tolist() == [[1, 1, 1]] * 2
    expanded[1, 2] += 4
    assert base.tolist() == [[1, 1, 5]]
    assert expanded.fill_(7).tolist() == [[7, 7, 7]] * 2
    assert expanded.zero_().tolist() == [[0, 0, 0]] * 2
    with pytest.raises(RuntimeError, match="single memory location"):
        expanded[:, 0] = 1
    with pytest.raises(RuntimeError, match="single memory location"):
        expanded += 1


# x holds 12 numbers, m is a 3 x 3 matrix, i is [0, 1]
REFUSED = """
x[1:].copy_(x[:-1]); put(x, slice(1, None), x[:-1]); put(x, i, x[:2]); put(x, x > 3, x[4:]); put(m, i, m[:2])
x[1:].add_(x[:-1]); x[:-1].mul_(x[1:]); x[1:].sub_(x[:-1]); x[1:].div_(x[:-1]); x[1:].pow_(x[:-1])
x.add_(x[0]); x[1:].fmod_(x[:-1]); x[1:].clamp_(x[:-1])
x[1:].atan2_(x[:-1]); x[1:].eq_(x[:-1]); x[1:].logical_and_(x[:-1])
x[1:].lerp_(x[:-1], 0.5); x[1:].addcmul_(x[1:], x[:-1]); x[1:].addcdiv_(x[:-1], x[1:]); x.add_(x[:1])
x.view(3, 4)[1:].add_(x.view(3, 4)[:2]); m.add_(m.t()); m.t().add_(m); m.copy_(m.t()); m.mul_(m[:1])
m[:2].copy_(m[1:]); x[2:3].add_(x[2]); x.index_copy_(0, i, x[:2]); x.index_add_(0, i, x[:2])
x.scatter_(0, i, x[:2]); x.put_(i, x[:2]); operator.iadd(x[1:], x[:-1]); operator.imul(m, m[0])
L.add(x[:-1], x[1:], out=x[1:]); L.sub(x[:-1], x[1:], out=x[1:]); L.mul(x[1:], 2, out=x[:-1])
"""
ALLOWED = """
x.add_(x); x.mul_(x.view(12)); x.view(3, 4).add_(x.view(3, 4)); m.t().mul_(m.t()); x[:4].add_(x[4:8])
x[::2].add_(x[1::2]); m[0].add_(m[1]); m[:, 0].copy_(m[0]); put(m, 0, m[1]); put(x, slice(None), x[0])
put(x, slice(1, 3), x[0]); put(x, x > 3, x[0]); x.masked_fill_(x > 3, x[1]); x.index_fill_(0, i, x[3])
m.diagonal().add_(m[0]); x.copy_(x); L.mul(x, 2, out=x); x[:0].add_(x[:0]); put(x, i, x[[4, 5]])
x[1:].add_(x[:-1].clone()); x[1:].mul_(x[:-1] * 1); operator.iadd(x, x)
"""


def written(library, case):
    def put(a, index, value):
        a[index] = value

    names = {"L": library, "put": put, "operator": operator, "i": library.tensor([0, 1])}
    names |= {"x": library.arange(12.0), "m": (library.arange(9.0) + 1).reshape(3, 3)}
    eval(case, names)
    return names["x"].tolist(), names["m"].tolist()


@pytest.mark.parametrize("case", [c.strip() for c in REFUSED.replace("\n", ";").split(";") if c.strip()])
def test_what_is_read_may_not_overlap_what_is_written(case):
    for library in (pytorch(), lazygrad):
        with pytest.raises(RuntimeError, match="some elements of the input tensor and the written-to tensor"):
            written(library, case)


@pytest.mark.parametrize("case", [c.strip() for c in ALLOWED.replace("\n", ";").split(";") if c.strip()])
def test_writes_beside_or_exactly_over_what_is_read(case):
    assert written(lazygrad, case) == written(pytorch(), case)


@pytest.mark.parametrize("call", [
    lambda m, x, n: x.view(n, 4), lambda m, x, n: x.reshape((n, 4)), lambda m, x, n: x.repeat(n, n),
    lambda m, x, n: x.as_strided((n, 3), (1, n), n - 1), lambda m, x, n: x.narrow(0, n, n),
    lambda m, x, n: x.unfold(0, n, n), lambda m, x, n: x.split(n), lambda m, x, n: x.chunk(n),
    lambda m, x, n: x.unflatten(0, (n, 4)), lambda m, x, n: x.roll(n), lambda m, x, n: x.topk(n)[0],
    lambda m, x, n: x.kthvalue(n)[0], lambda m, x, n: m.eye(n), lambda m, x, n: m.linspace(0, 1, n),
    lambda m, x, n: m.zeros(n, 3), lambda m, x, n: m.nn.functional.one_hot(m.tensor([1]), n),
    lambda m, x, n: m.nn.functional.pad(x, (n, n)), lambda m, x, n: x.view(2, 4).flatten(n - 2, n - 1),
])  # fmt: skip
def test_sizes_may_be_tensors_of_one_integer(call):
    theirs = pytorch()
    check(*(call(m, m.arange(8.0), m.tensor(2)) for m in (lazygrad, theirs)))
