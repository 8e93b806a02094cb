"""lazygrad.jit called again with the very same arguments: it asks less and recycles memory, and nobody can
tell."""

import gc
import random
import sys
import types
import weakref

import numpy as np
import pytest
from jit_support import same

import lazygrad as lg
from lazygrad import config
from lazygrad.errors import OutOfBoundsError
from lazygrad.runtime.device import Buffer

FACTOR = 2.0


def warm(f, *args):
    """Call until a further call with these arguments takes the shortcut, if there is one."""
    for _ in range(4):
        f(*args)


def address(x):
    """Where the memory of a realized tensor is."""
    return x.cell.node.arg.address


def test_dropped_results_are_recycled_and_held_ones_are_not():
    f, x = lg.jit(lambda x: x * 2), lg.tensor([1.0, 2.0])
    warm(f, x)
    places = {address(f(x)) for _ in range(10)}
    assert len(places) == 1
    held = [f(x) for _ in range(6)]
    assert len({address(y) for y in held}) == 6
    for y in held:
        same(y, [2, 4])
    assert len({id(y.cell) for y in held}) == 6
    assert all(y._version == 0 for y in held)


@pytest.mark.parametrize("hold", [
    lambda y: y.detach(),
    lambda y: y[1:],
    lambda y: y.reshape(2, 1),
    lambda y: y + 1,
    lambda y: y.numpy(),
    lambda y: y.add_(1),
    lambda y: np.asarray(y),
    lambda y: y.cell.node.arg,
    lambda y: y.cell.node.arg.slice(0, 8),
])
def test_whatever_holds_a_result_keeps_its_values(hold):
    f, x = lg.jit(lambda x: x * 2), lg.tensor([1.0, 2.0])
    warm(f, x)
    held, wanted = hold(f(x)), hold(lg.tensor([2.0, 4.0]).realize())
    x.copy_(lg.tensor([5.0, 6.0]))
    x.realize()
    for _ in range(6):
        same(f(x), [10, 12])
    if isinstance(held, Buffer):
        held, wanted = (memory.device.copy_out(memory)[:8] for memory in (held, wanted))
    same(held, wanted)


def test_a_dropped_result_is_gone():
    f, x = lg.jit(lambda x: x * 2), lg.tensor([1.0, 2.0])
    warm(f, x)
    y = f(x)
    died = weakref.ref(y), weakref.ref(y.cell)
    del y
    gc.collect()
    assert died[0]() is None and died[1]() is None


def test_proven_bounds_of_a_recycled_index_do_not_survive():
    f, x = lg.jit(lambda x: x * 2), lg.tensor([1, 2])
    table = lg.arange(5)
    warm(f, x)
    for values in ([0, 1], [1, 2], [2, 0]):
        x.copy_(lg.tensor(values))
        x.realize()
        same(table[f(x)], [2 * v for v in values])
    x.copy_(lg.tensor([0, 3]))
    x.realize()
    with pytest.raises(OutOfBoundsError):
        table[f(x)].numpy()


def test_everything_else_is_still_looked_at():
    global FACTOR
    model = lg.nn.Linear(2, 2)
    f, x = lg.jit(lambda x: model(x) * FACTOR), lg.tensor([[1.0, 2.0]])
    plain = f.function

    def check():
        for _ in range(3):
            with lg.no_grad():
                same(f(x), plain(x))

    check()
    x.add_(1)
    check()
    x.data = lg.tensor([[7.0, 8.0]])
    check()
    with lg.no_grad():
        model.weight.mul_(3)
    check()
    model.weight.data = lg.tensor([[1.0, 0.0], [0.0, 1.0]])
    check()
    model.bias = lg.nn.Parameter(lg.tensor([5.0, 6.0]))
    check()
    FACTOR = 3.0
    check()
    FACTOR = 2.0
    check()
    assert f(x).requires_grad and f(x).requires_grad
    x.data = lg.tensor([[1.0, 2.0], [3.0, 4.0]])
    check()


def test_settings_are_looked_at_again(capsys):
    f, x = lg.jit(lambda x: x * 2), lg.tensor([1.0, 2.0])
    warm(f, x)
    with config.override(DEBUG=2):
        f(x)
        assert "replayed" in capsys.readouterr().err
    warm(f, x)
    assert not capsys.readouterr().err
    lg.set_default_dtype(lg.float64)
    try:
        g, y = lg.jit(lambda x: x / 3), lg.tensor([1, 2], dtype=lg.int64)
        warm(g, y)
        assert g(y).dtype is lg.float64
        lg.set_default_dtype(lg.float32)
        assert g(y).dtype is lg.float32
    finally:
        lg.set_default_dtype(lg.float32)


def test_names_and_numbers_of_arguments():
    f = lg.jit(lambda a, b=2.0: a - b)
    x, y = lg.tensor([1.0]), lg.tensor([5.0])
    warm(f, x, y)
    same(f(x, y), [-4])
    for _ in range(4):
        same(f(a=x, b=y), [-4])
    for _ in range(4):
        same(f(b=x, a=y), [4])
    for _ in range(4):
        same(f(x), [-1])
    same(f(x, y), [-4])
    with pytest.raises(TypeError):
        f(x, y, x)
    same(f(x, y), [-4])


@pytest.mark.parametrize("seed", range(3))
def test_random_uses_of_results(seed):
    choose = random.Random(seed)
    f = lg.jit(lambda x, y: (x * y, (x + y).sum(0)))
    x, y = lg.tensor(np.arange(6.0, dtype=np.float32).reshape(2, 3)), lg.ones(2, 3)
    kept = []

    def write():
        x.add_(choose.randrange(5))

    def replace():
        x.data = lg.full((2, 3), float(choose.randrange(5)))

    uses = {
        "keep": lambda r: kept.append((r, r.numpy().copy())),
        "view": lambda r: kept.append((r[..., 1:], r.numpy()[..., 1:].copy())),
        "lazy": lambda r: kept.append((r * 3, r.numpy() * 3)),
        "array": lambda r: kept.append((r.numpy(), r.numpy().copy())),
        "write": lambda r: kept.append((r.add_(1), r.numpy().copy())),
    }
    for _ in range(150):
        for r, w in zip(f(x, y), (x.numpy() * y.numpy(), (x.numpy() + y.numpy()).sum(0)), strict=True):
            same(r, w)
            uses[choose.choice(list(uses))](r)
        choose.choice([write, replace, lambda: None, lambda: None, lambda: None])()
        while len(kept) > 6:
            del kept[choose.randrange(len(kept))]
        for r, w in kept:
            same(r, w)


def test_proven_bounds_of_an_index_that_each_call_replaces_do_not_survive():
    class Holder:
        index = None

    holder, table, x = Holder(), lg.arange(5), lg.tensor([1, 2])

    @lg.jit
    def f():
        holder.index = x * 2

    for values in ([0, 1], [1, 2], [2, 0], [1, 1]):
        x.copy_(lg.tensor(values))
        x.realize()
        f()
        same(table[holder.index], [2 * v for v in values])
    x.copy_(lg.tensor([0, 3]))
    x.realize()
    f()
    with pytest.raises(OutOfBoundsError):
        table[holder.index].numpy()


def test_what_a_bound_method_sees_is_still_looked_at():
    class Scaled:
        def __init__(self):
            self.factor = 2.0

        def times(self, x):
            return x * self.factor * FACTOR

        def twice(self, x):
            return self.times(x) * FACTOR

    global FACTOR
    own, x = Scaled(), lg.tensor([1.0, 2.0])
    f = lg.jit(own.twice)
    warm(f, x)
    same(f(x), [8, 16])
    own.factor = 3.0
    warm(f, x)
    same(f(x), [12, 24])
    FACTOR = 1.0
    try:
        warm(f, x)
        same(f(x), [3, 6])
    finally:
        FACTOR = 2.0
    Scaled.times = lambda self, x: x
    warm(f, x)
    same(f(x), [2, 4])


@pytest.mark.parametrize("call", [
    lambda own, x: getattr(own, "times")(x),  # noqa: B009
    lambda own, x: own.outer(x),
    lambda own, x: vars(type(own).__mro__[1])["times"](own, x),
])
def test_methods_that_are_found_by_their_text_or_through_others_are_looked_at(call):
    class Inner:
        def times(self, x):
            return x * 2

        def unused(self, x):
            return x

    class Outer(Inner):
        def outer(self, x):
            return [self.times(v) for v in (x,)][0]

    own, x = Outer(), lg.tensor([1.0, 2.0])
    f = lg.jit(lambda x: call(own, x))
    warm(f, x)
    same(f(x), [2, 4])
    Inner.times = lambda self, x: x * 3
    warm(f, x)
    same(f(x), [3, 6])


def test_methods_of_library_classes_are_all_looked_at():
    class Net(lg.nn.Module):
        def forward(self, x):
            return x * 2

    net, x = Net(), lg.tensor([1.0, 2.0])
    f = lg.jit(lambda x: net(x))
    warm(f, x)
    same(f(x), [2, 4])
    Net.forward = lambda self, x: x * 3
    warm(f, x)
    same(f(x), [3, 6])


def test_a_method_that_never_reads_self_sees_nothing_of_it():
    class Programs:
        def __init__(self):
            self.scale = 2.0

        def add(self, x, y):
            return x + y

        def through_a_closure(self, x, y):
            return [x * self.scale + y for _ in (0,)][0]

    own, x = Programs(), lg.tensor([1.0, 2.0])
    f, g = lg.jit(own.add), lg.jit(own.through_a_closure)
    for jitted in (f, g):
        warm(jitted, x, x)
    own.scale = 3.0
    same(g(x, x), [4, 8])
    same(f(x, x), [2, 4])
    replays = [replay for kind in f._kinds.values() for replay in kind]
    assert len(replays) == 1
    assert replays[0].before.is_certain()


SCALE = 2.0


class Space:
    scale = 2.0
    shift = lg.tensor([1.0, 1.0])

    def by_attribute(self, x):
        return x * self.scale

    @property
    def rate(self):
        return SCALE * self.scale

    def by_property(self, x):
        return x * self.rate

    @staticmethod
    def static(x):
        return x * SCALE

    @classmethod
    def of_class(cls, x):
        return x * cls.scale + cls.shift


@pytest.mark.parametrize("function, before, after", [
    (lambda own, x: own.by_attribute(x), [2, 4], [5, 10]),
    (lambda own, x: own.by_property(x), [4, 8], [15, 30]),
    (lambda own, x: own.static(x), [2, 4], [3, 6]),
    (lambda own, x: own.of_class(x), [3, 5], [7, 12]),
    (lambda own, x: Space.static(x), [2, 4], [3, 6]),
    (lambda own, x: Space.of_class(x), [3, 5], [7, 12]),
    (lambda own, x: x * getattr(Space, "scale"), [2, 4], [5, 10]),  # noqa: B009
])
def test_what_a_class_holds_is_looked_at(function, before, after, monkeypatch):
    own, x = Space(), lg.tensor([1.0, 2.0])
    f = lg.jit(lambda x: function(own, x))
    warm(f, x)
    same(f(x), before)
    monkeypatch.setattr(Space, "scale", 5.0)
    monkeypatch.setattr(Space, "shift", lg.tensor([2.0, 2.0]))
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)
    warm(f, x)
    same(f(x), after)


def test_what_a_users_module_holds_is_looked_at():
    module = types.ModuleType("settings_of_a_user")
    exec("scale = 2.0\nunused = 1.0\ndef times(x): return x * scale", module.__dict__)
    x = lg.tensor([1.0, 2.0])
    f = lg.jit(lambda x: module.times(x) + module.scale)
    warm(f, x)
    module.scale = 3.0
    same(f(x), [6, 9])
