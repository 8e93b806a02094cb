"""Details that programs written for PyTorch lean on: names of arguments, kinds of errors, what is
returned."""

import copy
import pickle
import re

import numpy as np
import pytest

import lazygrad
from lazygrad import nn

a = lazygrad.arange(6).reshape(2, 3)
m = lazygrad.ones(2, 2)


@pytest.mark.parametrize("short, named", [
    (lambda: a.flip(0), lambda: lazygrad.flip(a, dims=[0])),
    (lambda: a.permute(1, 0), lambda: lazygrad.permute(a, dims=(1, 0))),
    (lambda: a.view(3, 2), lambda: a.view(size=(3, 2))),
    (lambda: a.reshape(3, 2), lambda: lazygrad.reshape(a, shape=(3, 2))),
    (lambda: a.expand(2, 2, 3), lambda: a.expand(size=(2, 2, 3))),
    (lambda: a.broadcast_to(2, 2, 3), lambda: lazygrad.broadcast_to(a, size=(2, 2, 3))),
    (lambda: a.repeat(2, 1), lambda: a.repeat(repeats=(2, 1))),
    (lambda: a.tile(2, 1), lambda: lazygrad.tile(a, dims=(2, 1))),
    (lambda: lazygrad.zeros(2, 3), lambda: lazygrad.zeros(size=(2, 3))),
    (lambda: m.new_ones(3), lambda: m.new_ones(size=(3,))),
    (lambda: lazygrad.arange(3), lambda: lazygrad.arange(end=3)),
    (lambda: a.sum(0, True), lambda: a.sum(axis=0, keepdims=True)),
    (lambda: a.max(1)[1], lambda: a.max(axis=1)[1]),
    (lambda: m.std(0), lambda: m.std(axis=0)),
    (lambda: m.softmax(0), lambda: m.softmax(axis=0)),
    (lambda: lazygrad.cat([a, a], 1), lambda: lazygrad.cat([a, a], axis=1)),
    (lambda: a.transpose(0, 1), lambda: lazygrad.swapaxes(a, axis0=0, axis1=1)),
    (lambda: m.addmm(m, m), lambda: lazygrad.addmm(input=m, mat1=m, mat2=m)),
    (lambda: m.mm(m), lambda: lazygrad.mm(input=m, mat2=m)),
    (lambda: m.mv(m[0]), lambda: lazygrad.mv(m, vec=m[0])),
    (lambda: m[0].dot(m[0]), lambda: lazygrad.dot(m[0], tensor=m[0])),
    (lambda: m[None].bmm(m[None]), lambda: lazygrad.bmm(m[None], mat2=m[None])),
    (lambda: lazygrad.heaviside(m, m), lambda: lazygrad.heaviside(m, values=m)),
    (lambda: lazygrad.tensor([1, 2]), lambda: lazygrad.asarray(obj=[1, 2], copy=True)),
], ids=lambda case: None)
def test_arguments_by_name(short, named) -> None:
    want, got = short(), named()
    assert got.dtype == want.dtype and got.tolist() == want.tolist()


def test_sizes_of_random_tensors_by_name() -> None:
    assert lazygrad.rand(size=(2, 3)).shape == lazygrad.randn(size=[2, 3]).shape == (2, 3)


def test_at_least_some_dimensions_of_several_tensors() -> None:
    one, two = lazygrad.atleast_1d(lazygrad.tensor(1), lazygrad.ones(2, 2))
    assert (one.shape, two.shape) == ((1,), (2, 2))
    assert [x.shape for x in lazygrad.atleast_2d([lazygrad.tensor(1), lazygrad.ones(3)])] == [(1, 1), (1, 3)]
    assert lazygrad.tensor(1).atleast_3d().shape == (1, 1, 1)


def test_pairs_are_named_after_their_function() -> None:
    x = lazygrad.tensor([2.0, 1.0])
    assert repr(x.max(0)) == "lazygrad.return_types.max(\nvalues=tensor(2.),\nindices=tensor(0))"
    assert repr(x.sort()).startswith("lazygrad.return_types.sort(\nvalues=tensor([1., 2.]),\nindices=")
    assert repr(x.cummin(0)).startswith("lazygrad.return_types.cummin(\n")
    values, indices = x.topk(1)
    assert (values.item(), indices.item()) == (2.0, 0) and x.topk(1).values.item() == 2.0


def test_a_parameter_prints_as_one() -> None:
    shown = "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    assert repr(nn.Parameter(lazygrad.ones(2))) == str(nn.Parameter(lazygrad.ones(2))) == shown


def test_lists_of_sequences_index_like_tuples() -> None:
    x = lazygrad.arange(24).reshape(2, 3, 4)
    assert x[[[0, 1], [1, 0]]].tolist() == x[[0, 1], [1, 0]].tolist()
    assert x[[lazygrad.tensor(1), 2]].tolist() == x[1, 2].tolist()
    assert x[[0, 1]].shape == (2, 3, 4)


def test_what_does_not_fit_is_not_assigned() -> None:
    whole, real = lazygrad.zeros(3, dtype=lazygrad.int64), lazygrad.zeros(3)
    for value in (float("nan"), float("inf"), 1e30):
        with pytest.raises(RuntimeError, match="without overflow"):
            whole[0] = value
    whole[0] = 2.7
    assert whole.tolist() == [2, 0, 0]
    for index in ([0], lazygrad.tensor([1, 2])):
        with pytest.raises(RuntimeError, match="source and destination dtypes match"):
            real[index] = lazygrad.tensor(3)
    with pytest.raises(RuntimeError, match="source and destination dtypes match"):
        real[real == 0] = lazygrad.tensor([1, 2, 3])
    real[real == 0] = lazygrad.tensor(7)
    real[1:] = lazygrad.tensor([1, 2])
    assert real.tolist() == [7.0, 1.0, 2.0]


@pytest.mark.parametrize("mistake, kinds", [
    (lambda: lazygrad.einsum("ij->ik", a), (RuntimeError, ValueError)),
    (lambda: lazygrad.einsum("ij,jk->ik", a), (RuntimeError, ValueError)),
    (lambda: lazygrad.conv2d(m[None], m[None, None], stride=0), (RuntimeError,)),
    (lambda: lazygrad.conv2d(m[None], m[None, None], padding=-1), (RuntimeError,)),
    (lambda: lazygrad.cat([]), (RuntimeError, ValueError)),
    (lambda: lazygrad.eye(-1), (RuntimeError,)),
    (lambda: lazygrad.randint(5, 2, (1,)), (RuntimeError,)),
    (lambda: lazygrad.div(m, 2, rounding_mode="up"), (RuntimeError,)),
    (lambda: m.index_select(0, lazygrad.tensor([[0]])), (IndexError,)),
    (lambda: setattr(lazygrad.ones(2), "grad", 3), (TypeError,)),
    (lambda: setattr(lazygrad.ones(2), "grad", lazygrad.ones(2, dtype=lazygrad.float64)), (RuntimeError,)),
    (lambda: lazygrad.ones(2, 2, requires_grad=True).t_(), (RuntimeError,)),
    (lambda: lazygrad.ones(3).fill_diagonal_(1), (RuntimeError,)),
], ids=lambda case: None)
def test_mistakes_are_of_the_kinds_that_programs_catch(mistake, kinds) -> None:
    for kind in kinds:
        with pytest.raises(kind):
            mistake()


def test_a_tensor_becomes_a_view_of_itself() -> None:
    x = lazygrad.arange(6.0).reshape(2, 3)
    row = x[0]
    assert x.t_() is x and x.shape == (3, 2) and x.stride() == (1, 3)
    x[0, 0] = 9
    assert row.tolist() == [9, 1, 2]
    assert x.unsqueeze_(0).shape == (1, 3, 2)
    assert x.transpose_(1, 2).squeeze_().tolist() == [[9, 1, 2], [3, 4, 5]]
    w = lazygrad.ones(2, 3, requires_grad=True)
    y = (w * 2).unsqueeze_(0)
    assert y.grad_fn.name() == "UnsqueezeBackward0"
    (y * lazygrad.arange(3.0)).sum().backward()
    assert w.grad.tolist() == [[0, 2, 4]] * 2
    with lazygrad.no_grad():
        w.swapaxes_(0, 1)
    assert w.requires_grad and w.is_leaf and w.shape == (3, 2)


@pytest.mark.parametrize("shape, wrap", [((3, 3), False), ((2, 4), False), ((7, 2), False), ((7, 2), True),
                                         ((9, 3), True), ((3, 3, 3), False)])
def test_fill_diagonal(shape, wrap) -> None:
    want = np.zeros(shape)
    np.fill_diagonal(want, 5, wrap)
    assert lazygrad.zeros(*shape).fill_diagonal_(5, wrap).tolist() == want.tolist()


@pytest.mark.parametrize("values, want", [
    ([np.float64(1), 2], lazygrad.float64),
    ([np.float32(1), 2], lazygrad.float32),
    ([np.int32(1), np.int32(2)], lazygrad.int32),
    ([np.int32(1), 2], lazygrad.int64),
    ([np.array([1, 2], np.int16), np.array([3, 4], np.int16)], lazygrad.int16),
    ([lazygrad.tensor(1.0, dtype=lazygrad.float64), 2], lazygrad.float64),
    ([True, 1], lazygrad.int64),
    ([[True], [1.5]], lazygrad.float32),
], ids=str)
def test_numbers_of_numpy_bring_their_types(values, want) -> None:
    assert lazygrad.tensor(values).dtype == want


def test_float_power_is_double() -> None:
    x = lazygrad.tensor([1, 3])
    assert lazygrad.float_power(x, 2).dtype == lazygrad.float64 and x.float_power(-1).tolist() == [1, 1 / 3]
    assert lazygrad.float_power(2, x).tolist() == [2, 8]
    assert lazygrad.ones(2, dtype=lazygrad.float64).mul_(3).float_power_(2).tolist() == [9, 9]
    with pytest.raises(RuntimeError, match="float64"):
        lazygrad.ones(2).float_power_(2)


def test_conversions_that_do_not_fit() -> None:
    for convert in (float, int, complex):
        for kind in (ValueError, RuntimeError):
            with pytest.raises(kind):
                convert(lazygrad.ones(2))
    for kind in (ValueError, RuntimeError):
        with pytest.raises(kind):
            lazygrad.tensor(2**63)


@pytest.mark.parametrize("dtype", [lazygrad.bool, lazygrad.int64, lazygrad.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (0, 2)], ids=str)
def test_pickles_keep_shapes(shape, dtype) -> None:
    x = lazygrad.ones(shape, dtype=dtype)
    for there in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x), copy.copy(x)):
        assert (there.shape, there.dtype, there.tolist()) == (x.shape, x.dtype, x.tolist())


def test_what_made_a_tensor_is_not_pickled() -> None:
    x = lazygrad.ones(2, requires_grad=True)
    there = pickle.loads(pickle.dumps(x * 2))
    assert there.tolist() == [2, 2] and there.is_leaf and there.grad_fn is None


def test_seeds_by_name() -> None:
    lazygrad.manual_seed(seed=7)
    assert lazygrad.initial_seed() == 7


def test_hooks_after_a_gradient_return_nothing() -> None:
    x = lazygrad.ones(2, requires_grad=True)
    with x.register_post_accumulate_grad_hook(lambda leaf: leaf.grad.mul_(2)):
        with pytest.raises(RuntimeError, match="should return None"):
            (x * 3).sum().backward()


def test_running_sums_of_exponentials_far_below_the_greatest(device) -> None:
    x = lazygrad.tensor([-1000.0, -1000.0, 0.0, -np.inf, 500.0], device=device, requires_grad=True)
    sums = x.logcumsumexp(0)
    np.testing.assert_allclose(sums.tolist(), [-1000.0, -1000 + np.log(2), 0, 0, 500], rtol=1e-6)
    sums[1:3].sum().backward()
    np.testing.assert_allclose(x.grad.tolist(), [0.5, 0.5, 1, 0, 0], rtol=1e-6)
    assert lazygrad.tensor([[-np.inf] * 3], device=device).logcumsumexp(1).tolist() == [[-np.inf] * 3]


INF, NAN = float("inf"), float("nan")
# beginnings without weight, infinities, NaN, sums far apart, and where float32's exponential ends
LOG_SUMS = [
    [1.0, 2.0, 3.0, -5.0],
    [500.0, -500.0, 600.0, 1.0],
    [88.0, 89.0, 90.0, 1000.0],
    [-500.0, -600.0, -INF, -400.0],
    [-INF, -INF, 1.0, 2.0],
    [-INF, -200.0, -300.0, -100.0],
    [INF, 1.0, 2.0, 3.0],
    [1.0, INF, 2.0, -INF],
    [NAN, 1.0, 2.0, 3.0],
    [1.0, NAN, 2.0, INF],
]


def test_running_sums_of_exponentials_at_special_values(device) -> None:
    torch = pytest.importorskip("torch")
    x = lazygrad.tensor(LOG_SUMS, device=device, requires_grad=True)
    theirs = torch.tensor(LOG_SUMS, dtype=torch.float64, requires_grad=True)
    for dim in (0, 1):
        got, want = x.logcumsumexp(dim), theirs.logcumsumexp(dim)
        np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), rtol=1e-6, atol=1e-6)
    weights = [[1.0, 2.0, 3.0, 4.0]] * len(LOG_SUMS)
    got[:6].backward(lazygrad.tensor(weights[:6], device=device))
    want[:6].backward(torch.tensor(weights[:6], dtype=torch.float64))
    # nothing weighs nothing: PyTorch has NaN where it stands first
    wanted = np.where(np.isneginf(LOG_SUMS), 0, theirs.grad.numpy())
    np.testing.assert_allclose(x.grad.numpy(), wanted, rtol=1e-5, atol=1e-30)


def test_running_sums_of_exponentials_make_the_same_graph_whatever_their_number(compiling_device) -> None:
    x = lazygrad.tensor(np.random.default_rng(0).normal(size=4096) * 30, device=compiling_device)
    explained = [lazygrad.explain((v * 1).logcumsumexp(0)) for v in (x[:8], x)]
    few, many = (re.search(r"graph: (\d+) nodes", text)[1] for text in explained)
    assert int(many) <= int(few) + 2
    np.testing.assert_allclose(x.logcumsumexp(0).numpy(), np.logaddexp.accumulate(x.numpy()), rtol=1e-12)


def test_split_names_its_argument_as_pytorch_does() -> None:
    x = lazygrad.arange(6)
    assert [p.tolist() for p in x.split(split_size=[2, 4])] == [[0, 1], [2, 3, 4, 5]]
    assert [p.tolist() for p in lazygrad.split(x, split_size_or_sections=3)] == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.filterwarnings("error")
def test_numbers_too_large_for_a_type_are_infinite() -> None:
    assert lazygrad.tensor([1e308, -1e39]).tolist() == [float("inf"), -float("inf")]


NAMED_AS_IN_OTHER_FORMS = {
    "max": (lambda t, x: t.max(x, other=x.flip(0)), lambda t, x: t.max(x, x.flip(0))),
    "min": (lambda t, x: x.min(other=x.flip(0)), lambda t, x: t.minimum(x, x.flip(0))),
    "indices": (lambda t, x: t.tensor_split(x, indices=(1,), dim=1), lambda t, x: (x[:, :1], x[:, 1:])),
    "sections": (lambda t, x: x.tensor_split(sections=2), lambda t, x: (x[:2], x[2:])),
    "of a tensor": (lambda t, x: t.tensor_split(x, tensor_indices_or_sections=t.tensor(3)),
                    lambda t, x: (x[:1], x[1:2], x[2:])),
    "hsplit": (lambda t, x: t.hsplit(x, sections=2), lambda t, x: (x[:, :2], x[:, 2:])),
    "vsplit": (lambda t, x: x.vsplit(indices=[1]), lambda t, x: (x[:1], x[1:])),
    "isin": (lambda t, x: t.isin(elements=x, test_element=1.0), lambda t, x: x == 1),
    "isin of one": (lambda t, x: t.isin(element=2.0, test_elements=x), lambda t, x: t.tensor(True)),
    "cholesky_solve": (lambda t, x: t.cholesky_solve(x, input2=t.eye(3) * 2), lambda t, x: x / 4),
    "copy_": (lambda t, x: t.zeros(3, 4).copy_(other=x), lambda t, x: x),
    "fill_": (lambda t, x: t.fill_(input=x.clone(), value=2), lambda t, x: t.full((3, 4), 2.0)),
    "memory": (lambda t, x: t.eye(3, pin_memory=False, layout=t.strided), lambda t, x: t.eye(3)),
    "like": (lambda t, x: t.zeros_like(x, pin_memory=False), lambda t, x: t.zeros(3, 4)),
    "range": (lambda t, x: t.arange(3, pin_memory=False), lambda t, x: t.tensor([0, 1, 2])),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMED_AS_IN_OTHER_FORMS)
def test_arguments_have_the_names_of_every_form_of_a_function(case):
    named, plain = (f(lazygrad, lazygrad.arange(12.0).reshape(3, 4)) for f in NAMED_AS_IN_OTHER_FORMS[case])
    named, plain = (v if isinstance(v, tuple) else (v,) for v in (named, plain))
    assert len(named) == len(plain)
    for one, other in zip(named, plain, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_tensors_in_lists_are_numbers() -> None:
    one, two = lazygrad.ones(1, 1), lazygrad.ones(2)
    assert lazygrad.tensor([one, 2.0]).tolist() == [1, 2]
    assert lazygrad.tensor([[one, lazygrad.tensor(3)]]).shape == (1, 2)
    assert lazygrad.tensor([[1, 2], two]).tolist() == [[1, 2], [1, 1]]
    for data in ([two], [two, two], [lazygrad.empty(0)]):
        with pytest.raises(ValueError, match="only one element tensors can be converted"):
            lazygrad.tensor(data)


@pytest.mark.parametrize("name", ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"])
def test_numbers_become_integers_as_in_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    numbers = (-1, -255, -256, -65536, -2**31, -2**32, -2**63, 255, 256, 2**32, 2**63, 2**64 - 1, 2**64, True,
               1.5, -1.5, 300.7, -3e9, 1e30, float("nan"), float("inf"))
    for value in numbers:
        for make in (lambda t, v: t.full((1,), v, dtype=getattr(t, name)),
                     lambda t, v: t.zeros(1, dtype=getattr(t, name)).fill_(v),
                     lambda t, v: t.tensor([v], dtype=getattr(t, name)),
                     lambda t, v: t.tensor(v, dtype=getattr(t, name))):
            if name == "uint64" and (value < 0 or isinstance(value, float)):
                continue  # PyTorch's ways differ among each other
            try:
                want = make(torch, value).flatten().tolist()
            except (RuntimeError, ValueError, OverflowError):
                with pytest.raises((RuntimeError, ValueError), match="without overflow"):
                    make(lazygrad, value)
            else:
                assert make(lazygrad, value).flatten().tolist() == want
