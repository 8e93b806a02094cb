"""The device meta: shapes and types without values, and models whose weights come later."""

from __future__ import annotations

import copy
import io

import pytest

import lazygrad
from lazygrad import nn
from lazygrad.errors import MissingError
from lazygrad.func import functional_call, stack_module_state, vmap


def small_model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def model_on_meta() -> nn.Module:
    with lazygrad.device("meta"):
        return small_model()


def test_what_a_graph_makes_is_known_but_for_its_values() -> None:
    model = model_on_meta()
    y = model(lazygrad.randn(5, 3, device="meta"))
    assert (y.shape, y.dtype, str(y.device), y.is_meta, y.requires_grad) == (
        (5, 2), lazygrad.float32, "meta", True, True)
    x = lazygrad.empty(3, device="meta").normal_()
    x[0] = 1
    x += lazygrad.tensor(1.0)
    assert lazygrad.cat([x, x]).relu().shape == (6,) and (x @ x).device == lazygrad.device("meta")
    assert not lazygrad.ones(2).is_meta and lazygrad.ones(2).to("meta").shape == (2,)


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.numpy(),
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: bool(x.any()),
        lambda x: x.nonzero(),
        lambda x: x.relu().realize(),
        lambda x: lazygrad.zeros(3, device="meta").numpy(),
        lambda x: lazygrad.tensor(2.0, device="meta").item(),
        lambda x: lazygrad.tensor([2.0, 3.0], device="meta").numpy(),
        lambda x: nn.Linear(2, 2, device="meta").to("cpu"),
    ],
)
def test_there_is_nothing_to_read(read) -> None:
    with pytest.raises(MissingError, match=r"no data! Use Module.to_empty"):
        read(lazygrad.ones(3, device="meta") * 2)


def test_tensors_elsewhere_are_realized_without_those_on_meta() -> None:
    here, there = lazygrad.arange(6.0), lazygrad.arange(6.0, device="meta")
    squares, others = (here * here).sum(), (there * there).sum()
    assert squares.item() == 55.0 and others.is_meta
    with pytest.raises(RuntimeError, match="same device"):
        here + there


def test_they_print_their_sizes() -> None:
    assert repr(lazygrad.zeros(2, 3, device="meta")) == "tensor(..., device='meta', size=(2, 3))"
    assert repr(lazygrad.arange(5, device="meta")) == (
        "tensor(..., device='meta', size=(5,), dtype=torch.int64)"
    ).replace("torch.", repr(lazygrad.int64).removesuffix("int64"))


def test_weights_come_later() -> None:
    full = small_model()
    state = full.state_dict()
    model = model_on_meta()
    with pytest.warns(UserWarning, match="no-op.*pass `assign=True`"):
        model.load_state_dict(state)
    assert model[0].weight.is_meta
    model.load_state_dict(state, assign=True)
    emptied = model_on_meta().to_empty(device="cpu")
    emptied.load_state_dict(state)
    x = lazygrad.randn(5, 3)
    for one in (model, emptied):
        assert isinstance(one[0].weight, nn.Parameter) and lazygrad.equal(one(x), full(x))


def test_a_skeleton_runs_with_other_parameters() -> None:
    models = [nn.Linear(3, 2) for _ in range(3)]
    parameters, buffers = stack_module_state(models)
    skeleton = copy.deepcopy(models[0]).to("meta")
    assert copy.deepcopy(skeleton).weight.is_meta and skeleton.weight.requires_grad
    x = lazygrad.randn(4, 3)
    found = vmap(lambda p, b: functional_call(skeleton, (p, b), (x,)))(parameters, buffers)
    lazygrad.testing.assert_close(found, lazygrad.stack([model(x) for model in models]))


def test_files_are_read_for_their_shapes() -> None:
    file = io.BytesIO()
    lazygrad.save(small_model().state_dict(), file)
    file.seek(0)
    found = lazygrad.load(file, map_location="meta")
    assert found["0.weight"].is_meta and found["0.weight"].shape == (4, 3)
