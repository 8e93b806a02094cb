"""lazygrad.jit: a replayed call leaves behind exactly what an ordinary call would."""

import copy
import dataclasses
import gc
import threading
import warnings
import weakref

import numpy as np
import pytest
from jit_support import arrays, same

import lazygrad as lg
from lazygrad import config
from lazygrad.errors import ArgumentTypeError, CaptureError, OutOfBoundsError


@pytest.fixture(autouse=True)
def on_device(device):
    with config.override(DEVICE=device):
        yield device


def test_results_are_right_and_fresh():
    runs = np.zeros(1, int)

    @lg.jit
    def f(x, y):
        runs[0] += 1
        return (x * y + 1).relu(), (x - y).sum()

    kept = []
    for seed in range(6):
        x, y = arrays((4, 5), (4, 5), seed=seed)
        a, b = f(lg.tensor(x), lg.tensor(y))
        kept.append((a, b, np.maximum(x * y + 1, 0), (x - y).sum()))
    for a, b, wanted_a, wanted_b in kept:
        np.testing.assert_allclose(a.numpy(), wanted_a, rtol=1e-6)
        np.testing.assert_allclose(b.item(), wanted_b, rtol=1e-4)
    assert runs[0] == 2


def test_kinds_of_arguments_are_kept_apart():
    runs = np.zeros(1, int)

    @lg.jit
    def f(x, scale, flag=False):
        runs[0] += 1
        return x * scale + (1 if flag else 0)

    x, z = lg.tensor([1.0, 2.0]), lg.tensor([[1.0]])
    for _ in range(3):
        same(f(x, 2), [2, 4])
        same(f(x, 2.5), [2.5, 5])
        same(f(x, 2, flag=True), [3, 5])
        same(f(z, 2), [[2]])
        same(f(lg.tensor([1, 2]), 2), [2, 4])
        same(f(lg.tensor([1, 2]), True), [1, 2])
        assert f(lg.tensor([1, 2]), 1.0).dtype is lg.float32
    assert runs[0] == 14


def test_containers_go_in_and_out():
    @dataclasses.dataclass
    class Pair:
        left: object
        right: object

    @lg.jit
    def f(batch, options):
        x = batch["x"][0] + batch["x"][1]
        return {"sum": x, "more": [x * options.left, (options.right, None)], "pair": Pair(x + 1, "text")}

    for i in range(4):
        made = f({"x": (lg.tensor([1.0 + i]), lg.tensor([2.0]))}, Pair(lg.tensor([3.0]), 5))
        same(made["sum"], [3 + i])
        same(made["more"][0], [9 + 3 * i])
        assert made["more"][1] == (5, None) and made["pair"].right == "text"
        same(made["pair"].left, [4 + i])


def test_state_is_not_written_under_what_others_hold():
    weight = lg.tensor([1.0, 2.0])
    view = weight[:1]

    @lg.jit
    def step():
        weight.mul_(2)
        return weight + 0

    kept, snapshots = [], []
    for i in range(6):
        kept.append(step())
        snapshots.append((weight.clone(), 2.0 ** (i + 1)))
        pending = weight * 10
        snapshots.append((pending, 10 * 2.0 ** (i + 1)))
    for value, factor in snapshots:
        same(value, [factor, 2 * factor])
    for i, value in enumerate(kept):
        same(value, [2.0 ** (i + 1), 2.0 ** (i + 2)])
    same(view, [64])


def test_arguments_that_are_views_and_batches():
    runs = np.zeros(1, int)
    data = lg.tensor(np.arange(40, dtype=np.float32).reshape(10, 4))

    @lg.jit
    def total(x):
        runs[0] += 1
        return x.sum() + x[0, 0]

    for i in range(0, 8, 2):
        same(total(data[i:i + 2]), data[i:i + 2].sum().item() + data[i, 0].item())
    assert runs[0] == 2
    for x in (data.t(), data[:, 1:3], data.t(), data[:, 1:3], data.t(), data[:, 1:3], data.t()):
        same(total(x), x.sum().item() + x[0, 0].item())
    for i in range(3):  # a pending one
        same(total(data[2:4] * i), i * (data[2:4].sum() + data[2, 0]).item())


def test_arguments_that_alias():
    @lg.jit
    def f(x, y):
        x.add_(1)
        return x * y

    for i in range(4):
        a, b = lg.tensor([float(i)]), lg.tensor([5.0])
        same(f(a, b), [(i + 1) * 5])
        same(a, [i + 1])
        c = lg.tensor([float(i)])
        same(f(c, c), [(i + 1) ** 2])
        d = lg.tensor([float(i), 1.0])
        same(f(d[:1], d[:1]), [(i + 1) ** 2])
        same(d, [i + 1, 1])


def test_arguments_that_alias_what_the_function_writes():
    p = lg.tensor([1.0])

    @lg.jit
    def f(x):
        p.add_(x)
        return x * 2

    other = lg.tensor([10.0])
    for _ in range(3):
        f(other)
    assert p.item() == 31
    for i in range(3):
        same(f(p), [124 * 2**i])
    assert p.item() == 31 * 8


def test_arguments_are_written():
    @lg.jit
    def f(x):
        x.mul_(2)
        return x

    for i in range(4):
        x = lg.tensor([1.0 + i])
        y = f(x)
        assert y is x
        same(x, [2 + 2 * i])


def test_methods_and_modules_are_jitted_each_for_itself():
    class Scaled:
        def __init__(self, factor):
            self.factor = factor

        @lg.jit
        def __call__(self, x):
            return x * self.factor

    a, b = Scaled(2), Scaled(3)
    for _ in range(4):
        same(a.__call__(lg.tensor([1.0])), [2])
        same(b.__call__(lg.tensor([1.0])), [3])
    a.factor = 5
    same(a.__call__(lg.tensor([1.0])), [5])


FACTOR = 2


def test_globals_and_closures_are_watched():
    global FACTOR
    FACTOR, offset = 2, 1
    f = lg.jit(lambda x: x * FACTOR + offset)
    for _ in range(3):
        same(f(lg.tensor([1.0])), [3])
    FACTOR = 4
    same(f(lg.tensor([1.0])), [5])
    offset = 10
    same(f(lg.tensor([1.0])), [14])
    FACTOR = 2


def test_python_effects_that_replays_leave_out_are_told():
    seen = []

    @lg.jit
    def f(x):
        seen.append(1)
        return x + 1

    x = lg.tensor([1.0])
    f(x)
    with pytest.warns(RuntimeWarning, match="changes seen while it runs"):
        f(x)
    same(f(x), [2])
    assert len(seen) == 2


@pytest.mark.parametrize("body", [
    lambda x: x.sum().item(), lambda x: bool(x.sum() > 0), lambda x: x[x > 0], lambda x: x.tolist(),
    lambda x: float(x.sum()), lambda x: x.nonzero(), lambda x: x.numpy(), lambda x: f"{x.sum()}",
    lambda x: lg.unique(x), lambda x: x + lg.rand(()).item(),
])  # fmt: skip
def test_reading_values_inside_is_refused(body):
    x = lg.tensor([1.0, -2.0])
    f = lg.jit(body)
    f(x)
    with pytest.raises(CaptureError, match=r"\[jit\] test_jit.py:\d+: .*replay"):
        f(x)
    same(x * 1, [1, -2])


def test_an_error_after_a_write_keeps_the_write():
    p = lg.tensor([1.0])

    @lg.jit
    def f(x, fail):
        p.add_(x)
        if fail:
            raise KeyError("stop")
        return p * 1

    x = lg.tensor([1.0])
    for i in range(3):
        with pytest.raises(KeyError):
            f(x, True)
        assert p.item() == 2 + i
    for i in range(4):
        same(f(x, False), [5 + i])


def test_labels_that_are_left_out_are_checked_at_each_call():
    scores = lg.tensor(np.arange(12, dtype=np.float32).reshape(4, 3) ** 1.5)
    runs = np.zeros(1, int)

    @lg.jit
    def f(labels):
        runs[0] += 1
        return lg.nn.functional.cross_entropy(scores, labels.flatten(), reduction="none")

    both = lg.tensor([[-100, 1], [2, 0], [-100, -100], [1, 2], [0, 0], [2, -100], [7, 0], [-1, 1]])
    for pair in (both[:2], both[2:4], both[4:6], *(both[i : i + 2].clone() for i in (4, 2, 0))):
        same(f(pair), f.__wrapped__(pair).numpy())
    assert runs[0] == 2 + 2 + 6  # parts and whole tensors are recorded once each
    for wrong in (both[4:][1:3], lg.tensor([[-1, 0], [-100, 0]]), both[6:]):
        with pytest.raises(OutOfBoundsError):
            f(wrong)
    same(f(both[:2]), f.__wrapped__(both[:2]).numpy())


def test_indices_are_checked_at_each_call():
    table = lg.tensor(np.arange(8, dtype=np.float32))
    f = lg.jit(lambda i: table[i] * 2)
    for k in (1, 3, 7, -1, 5, -8):
        same(f(lg.tensor([k, 0])), [2 * (k % 8), 0])
    with pytest.raises(OutOfBoundsError):
        f(lg.tensor([8, 0]))
    same(f(lg.tensor([6, 0])), [12, 0])


def test_arrays_are_refused():
    f = lg.jit(lambda x: lg.tensor(x))
    with pytest.raises(ArgumentTypeError, match=r"\[jit\] .*NumPy"):
        f(np.zeros(2))


def test_other_dtypes_sizes_and_numbers():
    f = lg.jit(lambda x: (x + 1, x.sum(), x.reshape(-1)))
    for dtype in (lg.int64, lg.uint8, lg.bool, lg.float16, lg.float64):
        for shape in ((0, 3), (1,), (), (2, 1, 2)):
            for i in range(4):
                x = lg.full(shape, i % 2, dtype=dtype)
                a, b, c = f(x)
                wanted = x + 1, x.sum(), x.reshape(-1)
                for got, want in zip((a, b, c), wanted, strict=True):
                    assert got.dtype is want.dtype
                    same(got, want)
    numbers = lg.jit(lambda x, y: x * y)
    for i in range(4):
        assert numbers(lg.tensor(2.0), lg.tensor(float(i))).item() == 2 * i


def test_no_grad_and_settings_are_kinds():
    w = lg.tensor([2.0], requires_grad=True)
    f = lg.jit(lambda x: w * x)
    x = lg.tensor([3.0])
    for _ in range(3):
        assert f(x).requires_grad
        with lg.no_grad():
            assert not f(x).requires_grad


def test_nothing_but_constants():
    f = lg.jit(lambda n: (lg.arange(n) * 2, n))
    for _ in range(4):
        made, n = f(3)
        same(made, [0, 2, 4])
        assert n == 3
    made.add_(1)
    same(f(3)[0], [0, 2, 4])


def test_one_inside_another():
    inner = lg.jit(lambda x: x * 2)
    outer = lg.jit(lambda x: inner(x) + inner(x + 1))
    for i in range(4):
        same(outer(lg.tensor([float(i)])), [4 * i + 2])
        same(inner(lg.tensor([float(i)])), [2 * i])


def test_a_function_that_never_settles_still_computes():
    class Counter:
        count = 0

    counter = Counter()
    f = lg.jit(lambda x: x + counter.count)
    x = lg.tensor([1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(15):
            counter.count = i
            same(f(x), [1 + i])


def test_the_same_arguments_again_are_looked_at_again():
    x, y = lg.tensor([1.0, 2.0]), lg.tensor([[1.0, 2.0], [3.0, 4.0]])
    row = y[1]
    f = lg.jit(lambda x, n: x.sum() * n)
    for _ in range(4):
        assert f(x, 2).item() == 6 and f(row, 2).item() == 14
    x.data = lg.tensor([5.0, 5.0, 5.0])
    assert f(x, 2).item() == 30
    for _ in range(3):
        assert f(row, 2).item() == 14
    row.data = lg.tensor([1.0, 1.0])
    assert f(row, 2).item() == 4
    y.add_(1)
    for _ in range(3):
        assert f(y[1], 2).item() == 18
    x.requires_grad_()
    assert f(x, 2).requires_grad and f(x, 2).requires_grad


def test_several_devices_are_refused(on_device):
    if on_device == "NUMPY":
        pytest.skip("there is no other device everywhere")
    f = lg.jit(lambda x: x.to("numpy") + 1)
    x = lg.tensor([1.0, 2.0])
    same(f(x), [2, 3])
    with pytest.raises(CaptureError, match="several devices"):
        f(x)
    same(x * 1, [1, 2])


def test_copies_of_objects_with_jitted_methods_are_on_their_own():
    class Scaled:
        factor = 2

        @lg.jit
        def scale(self, x):
            return x * self.factor

    one = Scaled()
    for _ in range(3):
        same(one.scale(lg.tensor([1.0])), [2])
    other = copy.deepcopy(one)
    other.factor = 5
    for _ in range(3):
        same(other.scale(lg.tensor([1.0])), [5])
        same(one.scale(lg.tensor([1.0])), [2])
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None


def test_threads_take_turns():
    total = lg.zeros(1)

    @lg.jit
    def add(x):
        total.add_(x)
        return total * 1

    x = lg.ones(1)
    threads = [threading.Thread(target=lambda: [add(x) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert total.item() == 80
