"""Attributes and methods that few programs ask for, beside PyTorch's."""

import inspect

import pytest
from torch_support import outcome, pytorch

import lazygrad


def own_kind(m):
    """A subclass of Tensor that overrides functions only to call them."""

    class Own(m.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return super().__torch_function__(func, types, args, kwargs or {})

    return Own


ASKED = {
    "a tuple and a size": lambda m: (repr((1,) + m.Size([2])), type((1,) + m.Size([2])).__name__),
    "reversed": lambda m: [reversed(m.arange(6).reshape(3, 2)).tolist(), reversed(m.tensor(4)).item()],
    "storage type": lambda m: [
        m.ones(1, dtype=d).storage_type().__name__ for d in (m.int64, m.bfloat16, m.bool)],
    "real and complex types": lambda m: (repr(m.float64.to_complex()), repr(m.int8.to_real())),
    "dictionaries": lambda m: sorted(({"b": m.ones(1)} | m.nn.ParameterDict({"a": m.ones(1)})).keys()),
    "hooks of tensors": lambda m: (m.ones(1)._backward_hooks, m.ones(1, requires_grad=True)._backward_hooks),
    "calls of modules": lambda m: [f(m.ones(1, 2)).shape[1] for f in (
        m.nn.Linear(2, 3)._call_impl, m.nn.Linear(2, 3)._wrapped_call_impl)],
    "facts of modules": lambda m: (m.nn.Linear(2, 3)._compiled_call_impl,
                                   m.nn.Linear(2, 3)._is_full_backward_hook),
    "states of recurrences": lambda m: [
        f(m.ones(5, 4, 2), None) for layer in (m.nn.LSTM(2, 3, 2, bidirectional=True, proj_size=1),
                                               m.nn.LSTM(2, 3, batch_first=True))
        for f in (layer.get_expected_hidden_size, layer.get_expected_cell_size)],
    "functions of subclasses": lambda m: own_kind(m).__torch_function__(
        m.add, (), (m.ones(1), m.ones(1)), {"alpha": 2}).item(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked(name):
    ours, theirs = ASKED[name](lazygrad), ASKED[name](pytorch())
    assert repr(ours).replace("lazygrad.", "torch.") == repr(theirs)


@pytest.mark.parametrize(
    "name", ["Dropout", "MaxPool2d", "Hardtanh", "CrossEntropyLoss", "ConstantPad1d", "GELU"])
def test_signatures_of_modules(name):
    for asked in (lambda kind: kind, lambda kind: kind.__init__):
        ours, theirs = (inspect.signature(asked(getattr(m.nn, name))) for m in (lazygrad, pytorch()))
        assert [(p.name, p.kind, p.default) for p in ours.parameters.values()] == [
            (p.name, p.kind, p.default) for p in theirs.parameters.values()]

    class Own(getattr(lazygrad.nn, name)):
        def __init__(self, *args):
            super().__init__(*args)

    needed = [p for p in theirs.parameters.values() if p.default is p.empty][1:]
    assert isinstance(Own(*(2, 1)[: len(needed)]), lazygrad.nn.Module)


def _without_first(x):
    del x[0]


def _both_backward_hooks(layer):
    layer.register_backward_hook(print)
    layer.register_full_backward_hook(print)


MISTAKES = {
    "a name as an index": (lambda m: m.ones(3)["a"], TypeError),
    "indices of two lengths": (lambda m: m.ones(3, 4)[[0, 1], [0, 1, 2]], IndexError),
    "deleted elements": (lambda m: _without_first(m.ones(3)), TypeError),
    "a number for data": (lambda m: setattr(m.ones(3), "data", 3), TypeError),
    "a bool as a seed": (lambda m: m.Generator().manual_seed(True), RuntimeError),
    "a float as a seed": (lambda m: m.Generator().manual_seed(1.5), RuntimeError),
    "a short state": (lambda m: m.Generator().set_state(m.zeros(3, dtype=m.uint8)), RuntimeError),
    "a state of floats": (lambda m: m.Generator().set_state(m.zeros(5056)), TypeError),
    "two kinds of backward hooks": (lambda m: _both_backward_hooks(m.nn.Linear(1, 1)), RuntimeError),
    "a number as the mode of gradients": (lambda m: m.set_grad_enabled(1), TypeError),
    "a list and a size": (lambda m: [1] + m.Size([2]), TypeError),
    "a complex type of integers": (lambda m: m.int32.to_complex(), RuntimeError),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name):
    call, kind = MISTAKES[name]
    for m in (lazygrad, pytorch()):
        assert isinstance(outcome(lambda m=m: call(m)), kind)


@pytest.mark.parametrize("name", ["xpu", "mtia", "ipu"])
def test_devices_that_there_are_not(name):
    for x in (lazygrad.ones(1), lazygrad.nn.Linear(1, 1)):
        with pytest.raises(lazygrad.errors.DeviceError, match="there is no device"):
            getattr(x, name)()
