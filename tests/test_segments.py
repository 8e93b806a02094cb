"""segment_reduce beside PyTorch, and in-place methods as functions."""

import pytest
from torch_support import check, outcome, pytorch

import lazygrad

DATA = [[1.0, 2.0, -1.0], [3.0, 3.0, 0.5], [3.0, 0.25, 4.0], [2.0, 6.0, -2.0]]
CASES = {
    "lengths": lambda m, x, r: m.segment_reduce(x, r, lengths=m.tensor([2, 0, 2])),
    "offsets": lambda m, x, r: m.segment_reduce(x, r, offsets=m.tensor([0, 1, 4])),
    "rows": lambda m, x, r: m.segment_reduce(
        x, r, lengths=m.tensor([[1, 2], [3, 0], [0, 3], [2, 1]]), axis=1),
    "initial": lambda m, x, r: m.segment_reduce(x, r, lengths=m.tensor([3, 0, 1]), initial=0.5),
    "a vector": lambda m, x, r: m.segment_reduce(x[:, 0], r, lengths=m.tensor([1, 3])),
    "unsafe": lambda m, x, r: m.segment_reduce(x, r, lengths=m.tensor([1, 3]), unsafe=True),
}


@pytest.mark.parametrize("reduce", ["sum", "mean", "max", "min", "prod"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, reduce):
    found = []
    for m in (lazygrad, pytorch()):
        x = m.tensor(DATA, dtype=m.float64, requires_grad=True)
        y = CASES[name](m, x, reduce)
        m.where(y.isfinite(), y, m.zeros_like(y)).square().sum().backward()
        found.append([y.detach(), x.grad])
    check(*found)


MISTAKES = {
    "lengths that do not add up": lambda m, x: m.segment_reduce(x, "sum", lengths=m.tensor([1, 1])),
    "a reduction": lambda m, x: m.segment_reduce(x, "any", lengths=m.tensor([4])),
    "neither": lambda m, x: m.segment_reduce(x, "sum"),
    "integers": lambda m, x: m.segment_reduce(x.long(), "sum", lengths=m.tensor([4])),
    "an axis": lambda m, x: m.segment_reduce(x, "sum", lengths=m.tensor([4]), axis=1),
    "less than none": lambda m, x: m.segment_reduce(x, "sum", lengths=m.tensor([5, -1])),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name):
    ours, theirs = (outcome(lambda m=m: MISTAKES[name](m, m.tensor(DATA))) for m in (lazygrad, pytorch()))
    assert isinstance(ours, RuntimeError) and isinstance(theirs, RuntimeError)
    assert str(ours).startswith("[segment_reduce]")


def test_in_place_methods_are_functions_too():
    for m in (lazygrad, pytorch()):
        x = m.tensor(DATA)
        assert m.fill_(x, 2) is x and x.sum().item() == 24
        assert m.zero_(x) is x and m.index_put_(x, (m.tensor([0]), m.tensor([1])), m.tensor(5.0)) is x
        assert m.detach_(x) is x and m.conj_physical_(x) is x and x.tolist()[0] == [0, 5, 0]
        assert m.as_strided_(x, (2,), (1,)).tolist() == [0, 5]


def test_successes_of_tries():
    lazygrad.manual_seed(0)
    count, prob = lazygrad.tensor([0.0, 3.0, 50.0]), lazygrad.tensor([[0.5], [0.1]])
    drawn = lazygrad.binomial(count.expand(2000, 1, 3), prob)
    assert drawn.shape == (2000, 2, 3) and drawn.dtype is lazygrad.float32
    assert bool((drawn <= count).all()) and bool((drawn == drawn.round()).all())
    error = (drawn.mean(0) - count * prob).abs().max()
    assert float(error) < 6 * float((count * 0.25).sqrt().max()) / 2000**0.5
    with pytest.raises(RuntimeError, match="one dtype"):
        lazygrad.binomial(count.double(), prob)
