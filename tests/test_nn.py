"""Modules: what a Module is, beside PyTorch's where it is installed, and every layer against PyTorch's."""

import copy
import pickle
import weakref
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import lazygrad
from lazygrad import nn
from lazygrad.errors import MissingError

rng = np.random.default_rng(11)


def normal(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


class Net(nn.Module):
    """A little of everything; at the top of the file so that it can be pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.rest = nn.Sequential(nn.ReLU(), nn.BatchNorm1d(3), nn.Linear(3, 2, bias=False))
        self.scale = nn.Parameter(lazygrad.ones(2))
        self.register_buffer("offset", lazygrad.tensor([0.5, 0.25]))
        self.register_buffer("scratch", lazygrad.zeros(1), persistent=False)
        self.note = "plain"

    def forward(self, x: lazygrad.Tensor) -> lazygrad.Tensor:
        return self.rest(self.first(x)) * self.scale + self.offset


# What a module holds


def test_names_of_parameters_buffers_and_modules() -> None:
    net = Net()
    assert [n for n, _ in net.named_parameters()] == [
        "scale", "first.weight", "first.bias", "rest.1.weight", "rest.1.bias", "rest.2.weight"]
    assert [n for n, _ in net.named_buffers()] == [
        "offset", "scratch", "rest.1.running_mean", "rest.1.running_var", "rest.1.num_batches_tracked"]
    assert [n for n, _ in net.named_modules()] == ["", "first", "rest", "rest.0", "rest.1", "rest.2"]
    assert [n for n, _ in net.named_children()] == ["first", "rest"]
    assert list(net.state_dict()) == [
        "scale",
        "offset",
        "first.weight",
        "first.bias",
        "rest.1.weight",
        "rest.1.bias",
        "rest.1.running_mean",
        "rest.1.running_var",
        "rest.1.num_batches_tracked",
        "rest.2.weight",
    ]
    assert len(list(net.parameters(recurse=False))) == 1
    assert net.get_submodule("rest.1") is net.rest[1]
    assert net.get_parameter("rest.2.weight") is net.rest[2].weight
    assert net.get_buffer("rest.1.running_mean") is net.rest[1].running_mean


def test_a_parameter_shares_storage_and_is_a_leaf() -> None:
    data = lazygrad.tensor([1.0, 2.0])
    p = nn.Parameter(data)
    assert isinstance(p, lazygrad.Tensor)
    assert p.requires_grad
    assert p.is_leaf
    data.mul_(2)
    assert p.tolist() == [2.0, 4.0]
    assert repr(nn.Parameter(lazygrad.ones(1))) == "Parameter containing:\ntensor([1.], requires_grad=True)"
    assert not nn.Parameter(lazygrad.ones(1), requires_grad=False).requires_grad
    assert isinstance(copy.deepcopy(p), nn.Parameter)
    assert type(p * 2) is lazygrad.Tensor
    with pytest.raises(RuntimeError, match="floating point"):
        nn.Parameter(lazygrad.tensor([1]))


def test_shared_parameters_come_once_and_stay_shared_in_copies() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    assert len(list(net.parameters())) == 3
    assert len(list(net.named_parameters(remove_duplicate=False))) == 4
    twin = copy.deepcopy(net)
    assert twin[1].weight is twin[0].weight
    assert twin[0].weight is not net[0].weight


def test_attribute_rules() -> None:
    net = Net()
    with pytest.raises(TypeError, match=r"cannot assign '.*Tensor' as parameter 'scale'"):
        net.scale = lazygrad.ones(2)
    net.scale = None
    assert "scale" in net._parameters
    net.offset = lazygrad.zeros(2)
    assert "offset" in net._buffers
    with pytest.raises(TypeError, match="as buffer 'offset'"):
        net.offset = "text"
    with pytest.raises(TypeError, match="as child module 'first'"):
        net.first = 3
    net.first = nn.Parameter(lazygrad.ones(1))
    assert "first" not in net._modules
    del net.offset
    assert not hasattr(net, "offset")
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'absent'"):
        net.absent  # noqa: B018
    net.extra = nn.Buffer(lazygrad.ones(1), persistent=False)
    assert "extra" in net._buffers
    assert "extra" not in net.state_dict()
    net.plain = lazygrad.ones(1)
    assert "plain" not in net._buffers


def test_assignments_before_init_are_refused() -> None:
    class Early(nn.Module):
        def __init__(self, kind: str) -> None:
            values = {"parameters": nn.Parameter(lazygrad.ones(1)), "module": nn.ReLU(),
                      "buffer": nn.Buffer(lazygrad.ones(1))}
            self.value = values[kind]

    for kind in ("parameters", "module", "buffer"):
        with pytest.raises(AttributeError, match=f"cannot assign {kind} before Module.__init__"):
            Early(kind)


@pytest.mark.parametrize(("act", "kind", "message"), [
    (lambda m: m.register_buffer("a.b", None), KeyError, "buffer name can.*t contain"),
    (lambda m: m.register_buffer("", None), KeyError, "be empty string"),
    (lambda m: m.register_buffer("forward", None), KeyError, "attribute 'forward' already exists"),
    (lambda m: m.register_buffer("a", 3), TypeError, "cannot assign 'int' object to buffer 'a'"),
    (lambda m: m.register_parameter("a", lazygrad.ones(1)), TypeError, "object to parameter 'a'"),
    (lambda m: m.add_module("a", 3), TypeError, "int is not a Module subclass"),
    (lambda m: m.add_module("a.b", nn.ReLU()), KeyError, "module name can.*t contain"),
    (lambda m: m.get_submodule("no"), AttributeError, "Net has no attribute `no`"),
    (lambda m: m.get_parameter("offset"), AttributeError, "`offset` is not an nn.Parameter"),
    (lambda m: m.get_buffer("scale"), AttributeError, "`scale` is not a buffer"),
    (lambda m: m.train("yes"), ValueError, "training mode is expected to be boolean"),
    (lambda m: m.to(lazygrad.int64), TypeError, "only accepts floating point"),
    (lambda m: m.get_submodule("first."), AttributeError, "Linear has no attribute ``"),
    (lambda m: m.to(dtypes=lazygrad.float64), TypeError, "unexpected keyword arguments: dtypes"),
    (lambda m: nn.Module()(1), MissingError, "is missing the required \"forward\" function"),
    (lambda m: m.get_extra_state(), MissingError, "override get_extra_state"),
    (lambda m: m.rest[7], IndexError, r"\[Sequential\] index 7 is out of range"),
    (lambda m: m.rest + [nn.ReLU()], ValueError, "only objects of Sequential class"),
])
def test_mistakes(act: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        act(Net())


def test_train_apply_and_casts() -> None:
    net = Net()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    seen = []
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "ReLU", "BatchNorm1d", "Linear", "Sequential", "Net"]
    weight = net.first.weight
    net.double()
    assert net.first.weight is weight
    assert weight.dtype == lazygrad.float64
    assert net.rest[1].num_batches_tracked.dtype == lazygrad.int64
    assert net.half().offset.dtype == lazygrad.float16
    assert net.to(lazygrad.float32).offset.dtype == lazygrad.float32
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())


def test_moving_a_module_moves_its_gradients(device: str) -> None:
    net = nn.Linear(2, 2)
    net(lazygrad.ones(1, 2)).sum().backward()
    net.to(device)
    assert net.weight.device == net.weight.grad.device == lazygrad.device(device)
    net.zero_grad()
    assert net.weight.grad is None


# State


def test_state_dict_shares_storage_unless_kept() -> None:
    net = Net()
    state = net.state_dict()
    with lazygrad.no_grad():
        net.scale.fill_(7)
    assert state["scale"].tolist() == [7.0, 7.0]
    assert not state["scale"].requires_grad
    assert net.state_dict(keep_vars=True)["scale"] is net.scale
    assert next(iter(net.state_dict(prefix="model."))) == "model.scale"
    assert state._metadata["rest.1"] == {"version": 2}


def test_loading_copies_and_reports() -> None:
    net, other = Net(), Net()
    result = net.load_state_dict(other.state_dict())
    assert str(result) == "<All keys matched successfully>"
    assert net.first.weight.tolist() == other.first.weight.tolist()
    state = other.state_dict()
    del state["scale"]
    state["unknown"] = lazygrad.ones(1)
    state["first.bias"] = lazygrad.ones(5)
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    message = str(caught.value)
    assert message.startswith(
        'Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: "scale". '
    )
    assert 'Unexpected key(s) in state_dict: "unknown". ' in message
    assert "size mismatch for first.bias: copying a param with shape" in message
    del state["first.bias"]
    result = net.load_state_dict(state, strict=False)
    assert result.missing_keys == ["scale", "first.bias"]
    assert result.unexpected_keys == ["unknown"]
    with pytest.raises(TypeError, match="Expected state_dict to be dict-like"):
        net.load_state_dict([1])


def _complaints(library) -> list[str]:
    """What loading wrong state dicts says."""

    def net(width: int):
        layers = library.nn
        return layers.Sequential(layers.Linear(2, width), layers.Sequential(layers.BatchNorm1d(width)))

    state = net(3).state_dict()
    fewer = {k: v for k, v in state.items() if k not in ("0.weight", "1.0.bias")}
    more = {**state, "0.extra": library.ones(1), "other": library.ones(1)}
    cases = [(3, fewer), (3, more), (3, {**fewer, "other": library.ones(1)}), (4, state), (4, fewer), (3, {}),
             (3, {**state, "0.bias": [1, 2, 3]}), (3, {**state, "0.bias": library.ones(3, 1)})]
    said = []
    for width, wrong in cases:
        with pytest.raises(RuntimeError) as caught:
            net(width).load_state_dict(wrong)
        said.append(str(caught.value).replace("lazygrad.", "torch."))
    return said


def test_loading_complains_in_the_words_of_torch() -> None:
    torch = pytest.importorskip("torch")
    assert _complaints(lazygrad) == _complaints(torch)


def test_loading_by_assignment_keeps_requires_grad() -> None:
    net = nn.Linear(2, 2)
    net.bias.requires_grad_(False)
    fresh = {"weight": lazygrad.ones(2, 2), "bias": lazygrad.ones(2)}
    net.load_state_dict(fresh, assign=True)
    assert isinstance(net.weight, nn.Parameter)
    assert net.weight.requires_grad
    assert not net.bias.requires_grad
    fresh["weight"].fill_(3)
    assert net.weight[0, 0].item() == 3.0


def test_state_hooks_and_extra_state() -> None:
    class Counted(nn.Module):
        count = 3

        def get_extra_state(self) -> dict:
            return {"count": self.count}

        def set_extra_state(self, state: dict) -> None:
            self.count = state["count"]

    net = nn.Sequential(Counted(), nn.ReLU())
    assert net.state_dict()["0._extra_state"] == {"count": 3}
    net.load_state_dict({"0._extra_state": {"count": 9}})
    assert net[0].count == 9
    net.register_state_dict_pre_hook(lambda m, prefix, keep_vars: setattr(m[0], "count", 5))
    net.register_state_dict_post_hook(lambda m, state, prefix, metadata: state.update(added=1))
    assert net.state_dict() == {"0._extra_state": {"count": 5}, "added": 1}
    net.register_load_state_dict_pre_hook(lambda m, state, *rest: state.pop("added", None))
    seen = []
    net.register_load_state_dict_post_hook(lambda m, keys: seen.append(keys.missing_keys))
    net.load_state_dict({"0._extra_state": {"count": 1}, "added": 1})
    assert seen == [[]]


def test_copies_and_pickles() -> None:
    net = Net().eval()
    x = lazygrad.tensor(normal(3, 4))
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert isinstance(twin.scale, nn.Parameter)
        np.testing.assert_array_equal(net(x).detach().numpy(), twin(x).detach().numpy())
        with lazygrad.no_grad():
            twin.scale.fill_(9)
        assert net.scale.tolist() == [1.0, 1.0]
    for module in (nn.ReLU(inplace=True), nn.CrossEntropyLoss(weight=lazygrad.ones(2)), nn.MaxPool2d(2)):
        assert repr(pickle.loads(pickle.dumps(module))) == repr(module)


def test_modules_are_freed_without_the_collector() -> None:
    net = Net()
    watch = weakref.ref(net)
    del net
    assert watch() is None


# Hooks


def test_forward_hooks() -> None:
    layer = nn.Linear(2, 2)
    x, log = lazygrad.ones(1, 2), []
    first = layer.register_forward_pre_hook(lambda m, args: (args[0] * 2,))
    layer.register_forward_pre_hook(lambda m, args: log.append("second"))
    layer.register_forward_pre_hook(lambda m, args: log.append("first"), prepend=True)
    after = layer.register_forward_hook(lambda m, args, out: out * 0)
    assert layer(x).tolist() == [[0.0, 0.0]]
    assert log == ["first", "second"]
    first.remove()
    after.remove()
    assert layer(x).tolist() == nn.functional.linear(x, layer.weight, layer.bias).tolist()


def test_hooks_with_keywords_and_hooks_that_are_always_called() -> None:
    class Doubled(nn.Module):
        def forward(self, x: float, *, times: float = 2) -> float:
            return x * times

    module = Doubled()
    module.register_forward_pre_hook(lambda m, args, kwargs: (args, {"times": 5}), with_kwargs=True)
    module.register_forward_hook(lambda m, args, kwargs, out: (out, kwargs["times"]), with_kwargs=True)
    assert module(3) == (15, 5)
    called = []
    module.register_forward_hook(lambda m, args, out: called.append(True), always_call=True)
    with pytest.raises(TypeError):
        module(3, 4, 5)
    assert called == [True]
    with nn.module_hooks.register_module_forward_hook(lambda m, args, out: "global"):
        assert nn.Identity()(1) == "global"
    assert nn.Identity()(1) == 1


def test_backward_hooks() -> None:
    layer, seen = nn.Linear(2, 1, bias=False), []
    layer.register_full_backward_pre_hook(lambda m, grad_output: (grad_output[0] * 3,))
    layer.register_full_backward_hook(
        lambda m, gi, go: seen.append((gi[0].tolist(), go[0].tolist())) or (gi[0] * 2,)
    )
    x = lazygrad.tensor([[1.0, 2.0]], requires_grad=True)
    layer(x).sum().backward()
    weight = layer.weight.detach() * 3
    assert seen == [(weight.tolist(), [[3.0]])]
    assert x.grad.tolist() == (weight * 2).tolist()
    assert layer.weight.grad.tolist() == [[3.0, 6.0]]


# Containers


def test_sequential() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert isinstance(net[:2], nn.Sequential)
    assert net[-1] is net[2]
    net.append(nn.Sigmoid()).insert(1, nn.Identity())
    assert [type(m).__name__ for m in net] == ["Linear", "Identity", "ReLU", "Linear", "Sigmoid"]
    del net[1]
    assert list(net._modules) == ["0", "1", "2", "3"]
    assert type(net.pop(3)).__name__ == "Sigmoid"
    assert len(net + nn.Sequential(nn.ReLU())) == 4 and len(net) == 3
    assert len(nn.Sequential(nn.ReLU()) * 3) == 3
    named = nn.Sequential(OrderedDict(a=nn.ReLU(), b=nn.Tanh()))
    assert named.b is named[1]
    with pytest.raises(IndexError, match="index 7 is out of range"):
        net[7]
    with pytest.raises(ValueError, match="add operator supports only"):
        net + 3


def test_lists_and_dictionaries() -> None:
    layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    layers += [nn.ReLU()]
    layers[0] = nn.Tanh()
    assert len(layers) == 4
    assert isinstance(layers[1:3], nn.ModuleList)
    layers.insert(-1, nn.Identity())
    assert [type(m).__name__ for m in layers] == ["Tanh", "Linear", "Linear", "Identity", "ReLU"]
    by_name = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Tanh()})
    by_name.update([("c", nn.Identity())])
    assert list(by_name) == ["a", "b", "c"]
    assert "a" in by_name
    assert isinstance(by_name.pop("a"), nn.ReLU)
    values = nn.ParameterList([lazygrad.ones(2), nn.Parameter(lazygrad.ones(1)), "text"])
    values.append(lazygrad.zeros(3))
    assert len(list(values.parameters())) == 3
    assert values[2] == "text"
    assert isinstance(values[-1], nn.Parameter)
    table = nn.ParameterDict({"x": lazygrad.ones(2)})
    table["values"] = lazygrad.ones(1)
    assert sorted(table.keys()) == ["values", "x"]
    assert len(list(table.parameters())) == 2
    assert table.get("none", 3) == 3
    with pytest.raises(TypeError, match="not a string"):
        table[3] = lazygrad.ones(1)
    with pytest.raises(TypeError, match="should be called with an iterable"):
        nn.ModuleDict(3)


def test_tables_of_hooks_may_be_exchanged() -> None:
    seen: list[str] = []
    net = nn.Linear(1, 1)
    net.register_forward_hook(lambda *_: seen.append("taken away"))
    net._forward_hooks = OrderedDict()
    with net.register_forward_hook(lambda *_: seen.append("hook")):
        net(lazygrad.ones(1, 1))
    optimizer = lazygrad.optim.SGD(net.parameters(), 0.1)
    with optimizer.register_step_pre_hook(lambda *_: seen.append("step")):
        optimizer.step()
    optimizer.step()
    assert seen == ["hook", "step"]
    table, other = OrderedDict[int, str](), OrderedDict[int, str]()
    handle = lazygrad.utils.hooks.RemovableHandle(table, extra_dict=other)
    table[handle.id] = other[handle.id] = "own"
    handle.remove()
    assert not table and not other


def test_all_hooks_have_handles_of_one_class() -> None:
    x = lazygrad.ones(1, requires_grad=True)
    y = x * 2
    module = nn.Linear(1, 1)
    handles = [
        x.register_hook(print),
        x.register_post_accumulate_grad_hook(print),
        y.register_hook(print),
        y.grad_fn.register_hook(print),
        y.grad_fn.register_prehook(print),
        module.register_forward_hook(print),
        lazygrad.optim.SGD(module.parameters(), 0.1).register_step_pre_hook(print),
    ]
    assert {type(handle) for handle in handles} == {lazygrad.utils.hooks.RemovableHandle}
    assert len({handle.id for handle in handles}) == len(handles)


def test_backward_hooks_change_the_gradients_of_all_inputs() -> None:
    class Sum(nn.Module):
        def forward(self, a: Any, b: Any) -> Any:
            return a * 2, b * 3

    seen: list[Any] = []

    def hook(module: nn.Module, of_inputs: Any, of_outputs: Any) -> Any:
        seen.append([None if g is None else g.tolist() for g in (*of_inputs, *of_outputs)])
        return tuple(g * 10 for g in of_inputs)

    net = Sum()
    net.register_full_backward_hook(hook)
    a, b = (lazygrad.ones(1, requires_grad=True) for _ in range(2))
    first, second = net(a, b)
    (first + second).sum().backward()
    assert (a.grad.item(), b.grad.item()) == (20.0, 30.0)
    net(a, b)[0].sum().backward()  # nothing comes from the other output
    assert (a.grad.item(), b.grad.item()) == (40.0, 30.0)
    assert seen == [[[2.0], [3.0], [1.0], [1.0]], [[2.0], [0.0], [1.0], None]]


@pytest.mark.parametrize("kind", [
    nn.Linear, lazygrad.optim.Optimizer, lazygrad.optim.Adam, lazygrad.distributions.Distribution,
    lazygrad.amp.GradScaler, lazygrad.utils.data.DataLoader,
])
def test_constructors_are_guarded_once(kind: Any) -> None:
    assert not hasattr(kind.__init__.__wrapped__, "__wrapped__")
