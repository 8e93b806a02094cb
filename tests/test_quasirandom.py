"""Sobol's sequences, alone and beside PyTorch's."""

import copy
import importlib.util
import pickle

import numpy as np
import pytest
from torch_support import pytorch

import lazygrad as lg
from lazygrad import config
from lazygrad.errors import DTypeError
from lazygrad.quasirandom import SobolEngine

needs_numbers = pytest.mark.skipif(importlib.util.find_spec("scipy") is None, reason="scipy has the numbers")


def test_missing_numbers(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"lazygrad\[quasirandom\]"):
        SobolEngine(2)


@needs_numbers
def test_first_points():
    engine = SobolEngine(3)
    assert engine.draw(4).tolist() == [[0, 0, 0], [0.5, 0.5, 0.5], [0.75, 0.25, 0.25], [0.25, 0.75, 0.75]]
    assert repr(engine) == "SobolEngine(dimension=3)"
    assert repr(SobolEngine(2, True, 5)) == "SobolEngine(dimension=2, scramble=True, seed=5)"


@needs_numbers
def test_wherever_it_is_drawn():
    engine = SobolEngine(5, scramble=True, seed=3)
    whole = engine.draw(32).tolist()
    parts = engine.reset().draw(1).tolist() + engine.draw(6).tolist()
    assert parts == whole[:7] and engine.fast_forward(9).draw(2).tolist() == whole[16:18]
    for twin in (pickle.loads(pickle.dumps(engine)), copy.deepcopy(engine)):
        assert twin.draw(3).tolist() == whole[18:21]
    out = lg.empty(0)
    assert engine.draw(2, out=out) is out and out.tolist() == whole[18:20]
    assert sorted((8 * np.array(whole[:8])[:, 2]).astype(int)) == list(range(8))  # one in each eighth


@needs_numbers
@pytest.mark.parametrize("wrong, message", [
    (lambda: SobolEngine(0), "dimensionality"), (lambda: SobolEngine(21202), "21201"),
    (lambda: SobolEngine(2).draw(0), "takes one or more"), (lambda: SobolEngine(2).draw(-1), "n=-1"),
    (lambda: SobolEngine(2).fast_forward(3).draw_base2(2), "power of 2"),
    (lambda: SobolEngine(2).fast_forward(2**30).draw(), "2\\^30 points"),
])
def test_errors(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
    with pytest.raises(DTypeError, match="float32 or float64"):
        SobolEngine(2).draw(dtype=lg.float16)


@needs_numbers
@pytest.mark.parametrize("dimension", [1, 2, 3, 17, 200, 21201])
@pytest.mark.parametrize("seed", [None, 0, 2**40 + 1])
def test_beside_pytorch(dimension, seed):
    torch, scramble = pytorch(), seed is not None
    if scramble and dimension > 200:
        pytest.skip("a matrix for each of so many dimensions is large")
    with config.override(RNG="torch"):
        ours, theirs = (t.quasirandom.SobolEngine(dimension, scramble, seed) for t in (lg, torch))
    for count, kind in ((1, "float32"), (7, "float64"), (130, "float32")):
        drawn = [e.draw(count, dtype=getattr(t, kind)).numpy() for t, e in ((lg, ours), (torch, theirs))]
        np.testing.assert_array_equal(*drawn)
        assert drawn[0].dtype == drawn[1].dtype == kind
    assert ours.fast_forward(5000).num_generated == theirs.fast_forward(5000).num_generated == 5138
    for ours_, theirs_ in ((ours.sobolstate, theirs.sobolstate), (ours.quasi, theirs.quasi),
                           (ours.shift, theirs.shift), (ours.draw(3), theirs.draw(3)),
                           (ours.reset().draw_base2(4, dtype=lg.float64),
                            theirs.reset().draw_base2(4, dtype=torch.float64))):
        np.testing.assert_array_equal(ours_.numpy(), theirs_.numpy())
