"""What functions return several tensors in: types, names and printing beside PyTorch's; and methods of
tensors that stand in modules which nothing has loaded yet."""

import copy
import pickle
import subprocess
import sys

import pytest
from torch_support import check, outcome, pytorch

import lazygrad
from lazygrad.later import METHOD_OF, MODULE_OF, MODULES

SQUARE = [[4.0, 1.0], [1.0, 3.0]]
CALLS = {
    "max": lambda m, x: m.max(x, 0),
    "min": lambda m, x: x.min(1),
    "aminmax": lambda m, x: m.aminmax(x),
    "aminmax of rows": lambda m, x: x.aminmax(dim=1, keepdim=True),
    "sort": lambda m, x: x.sort(),
    "topk": lambda m, x: x.topk(1),
    "kthvalue": lambda m, x: x.kthvalue(1),
    "median": lambda m, x: x.median(0),
    "nanmedian": lambda m, x: x.nanmedian(0),
    "mode": lambda m, x: x.mode(),
    "cummax": lambda m, x: x.cummax(0),
    "cummin": lambda m, x: x.cummin(0),
    "frexp": lambda m, x: x.frexp(),
    "histogram": lambda m, x: x.histogram(2),
    "histogramdd": lambda m, x: m.histogramdd(x, 2),
    "qr": lambda m, x: m.qr(x),
    "linalg_qr": lambda m, x: m.linalg.qr(x),
    "svd": lambda m, x: m.svd(x),
    "linalg_svd": lambda m, x: m.linalg.svd(x),
    "linalg_eigh": lambda m, x: m.linalg.eigh(x),
    "geqrf": lambda m, x: m.geqrf(x),
    "slogdet": lambda m, x: m.slogdet(x),
    "linalg_slogdet": lambda m, x: m.linalg.slogdet(x),
    "linalg_cholesky_ex": lambda m, x: m.linalg.cholesky_ex(x),
    "linalg_inv_ex": lambda m, x: m.linalg.inv_ex(x),
    "linalg_solve_ex": lambda m, x: m.linalg.solve_ex(x, x),
    "linalg_lu": lambda m, x: m.linalg.lu(x),
    "linalg_lu_factor": lambda m, x: m.linalg.lu_factor(x),
    "linalg_lu_factor_ex": lambda m, x: m.linalg.lu_factor_ex(x),
    "linalg_ldl_factor": lambda m, x: m.linalg.ldl_factor(x),
    "linalg_ldl_factor_ex": lambda m, x: m.linalg.ldl_factor_ex(x),
    "lu_unpack": lambda m, x: m.lu_unpack(*m.linalg.lu_factor(x)),
    "linalg_lstsq": lambda m, x: m.linalg.lstsq(x, x),
    "triangular_solve": lambda m, x: m.triangular_solve(x, x),
    "no type of its own": lambda m, x: m.unique(x, return_counts=True),
    "moments": lambda m, x: m.var_mean(x),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_types_of_results(name):
    torch = pytorch()
    ours, theirs = (CALLS[name](m, m.tensor(SQUARE)) for m in (lazygrad, torch))
    assert type(ours).__name__ == type(theirs).__name__ and len(ours) == len(theirs)
    if type(theirs) is tuple:
        return
    assert type(ours) is getattr(lazygrad.return_types, type(theirs).__name__)
    assert type(ours)._fields == type(theirs).__match_args__ and ours.n_fields == theirs.n_fields
    lines = [repr(result).replace("lazygrad.", "torch.").splitlines() for result in (ours, theirs)]
    assert [line[0] for line in lines] == [lines[0][0]] * 2 and lines[0][0].startswith("torch.return_types.")
    assert all(getattr(ours, field) is part for field, part in zip(ours._fields, ours, strict=True))


POINTS = [[0.0, 0.1], [0.5, 0.9], [1.0, 1.0], [0.3, 0.2], [-1.0, 0.5], [0.7, 0.3]]
WEIGHTS = [1.0, 2.0, 0.5, 1.0, 3.0, 1.5]
BOXES = {
    "one number": lambda m, x, w: m.histogramdd(x, 3),
    "numbers": lambda m, x, w: m.histogramdd(x, bins=[2, 3], range=[0.0, 1.0, 0.0, 0.5], weight=w),
    "edges": lambda m, x, w: m.histogramdd(x, (m.tensor([0.0, 0.4, 1.0]), m.tensor([0.0, 0.2, 0.3, 0.9]))),
    "edges out of order": lambda m, x, w: m.histogramdd(
        x, (m.tensor([0.3, 0.1, 0.9, 0.4, 1.0]), m.tensor([0.2, 0.9, 0.1, 0.9])), weight=w
    ),
    "edges that hold nothing": lambda m, x, w: m.histogramdd(
        x, (m.tensor([0.9, 0.1]), m.tensor([0.9, 0.1])), density=True
    ),
    "density": lambda m, x, w: m.histogramdd(x.double(), [3, 2], weight=w.double(), density=True),
    "no points": lambda m, x, w: m.histogramdd(x[:0], [2, 2]),
    "a batch": lambda m, x, w: m.histogramdd(x.reshape(2, 3, 2), 2, weight=w.reshape(2, 3)),
}


@pytest.mark.parametrize("name", BOXES)
def test_histograms_of_points(name):
    ours, theirs = (BOXES[name](m, m.tensor(POINTS), m.tensor(WEIGHTS)) for m in (lazygrad, pytorch()))
    check(ours.hist, theirs.hist)
    check(ours.bin_edges, theirs.bin_edges)


WRONG_BOXES = {
    "a vector": lambda m, x: m.histogramdd(x[0], 2),
    "too few bins": lambda m, x: m.histogramdd(x, [2]),
    "integers": lambda m, x: m.histogramdd(x.long(), 2),
    "too few bounds": lambda m, x: m.histogramdd(x, 2, range=[0.0, 1.0]),
    "no bins": lambda m, x: m.histogramdd(x, [0, 2]),
}


@pytest.mark.parametrize("name", WRONG_BOXES)
def test_errors_of_histograms_of_points(name):
    for m in (lazygrad, pytorch()):
        found = outcome(lambda m=m: WRONG_BOXES[name](m, m.tensor(POINTS)))
        assert isinstance(found, RuntimeError), found
    assert "[histogramdd]" in str(outcome(lambda: WRONG_BOXES[name](lazygrad, lazygrad.tensor(POINTS))))


def test_every_type_that_pytorch_names_is_there():
    torch = pytorch()
    names = [n for n, kind in vars(torch.return_types).items()
             if isinstance(kind, type) and issubclass(kind, tuple) and not n.startswith("_")]
    assert len(names) > 40
    for name in names:
        ours = getattr(lazygrad.return_types, name)
        assert ours._fields == getattr(torch.return_types, name).__match_args__
    with pytest.raises(AttributeError, match="lazygrad lacks torch.return_types.surely_not"):
        lazygrad.return_types.surely_not  # noqa: B018


def test_results_are_made_copied_and_pickled():
    torch = pytorch()
    for m in (lazygrad, torch):
        made = m.return_types.max((1, 2))
        assert made == (1, 2) and made.indices == 2
        assert type(copy.copy(made)) is type(pickle.loads(pickle.dumps(made))) is m.return_types.max
        for wrong in (lambda m=m: m.return_types.max((1,)), lambda m=m: m.return_types.max(1)):
            assert isinstance(outcome(wrong), TypeError)
    found = lazygrad.utils._pytree.tree_map(lambda t: t + 1, lazygrad.tensor(SQUARE).max(0))
    assert type(found) is lazygrad.return_types.max and found.values.tolist() == [5.0, 4.0]


@pytest.mark.parametrize("name", sorted([*MODULE_OF, *MODULES]))
def test_names_of_other_modules_are_at_the_root(name: str) -> None:
    assert getattr(lazygrad, name) is not None


@pytest.mark.parametrize("name", sorted(METHOD_OF))
def test_methods_are_there_before_their_modules_are_loaded(name):
    text = (
        "import sys, lazygrad\n"
        "assert 'lazygrad.nn' not in sys.modules\n"
        f"assert {name!r} in dir(lazygrad.Tensor) and hasattr(lazygrad.zeros(2), {name!r})\n"
        "x = lazygrad.tensor([-1.0, 2.0])\n"
        f"more = {{'prelu': (lazygrad.tensor(0.5),)}}.get({name!r}, ())\n"
        f"print(x.{name}(*more).tolist(), lazygrad.Tensor.{name}(x, *more).tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120)
    wanted = {"prelu": "[-0.5, 2.0]", "hardshrink": "[-1.0, 2.0]"}[name]
    assert done.stdout == f"{wanted} {wanted}\n", done.stderr
