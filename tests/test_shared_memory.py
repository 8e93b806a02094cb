"""Memory shared with NumPy and DLPack: writes of either side are seen by the other at once, results that wait
keep the values that they were made from, and who is gone costs nothing."""

import gc
import mmap
import os
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_support import outcome, pytorch

import lazygrad
from lazygrad import nn, optim
from lazygrad.errors import LazygradError

HOSTS = ["CPU", "NUMPY"]


@pytest.fixture(params=HOSTS)
def host(request, monkeypatch):
    monkeypatch.setenv("DEVICE", request.param)
    return request.param


def array(shape=(3, 4), kind=np.float32):
    return np.arange(np.prod(shape)).reshape(shape).astype(kind)


def test_writes_are_seen_on_both_sides(host):
    a = array()
    x = lazygrad.from_numpy(a)
    a[0, 0] = 100
    assert x[0, 0].item() == 100 and x.tolist()[0][0] == 100 and (x * 2).sum().item() == 2 * a.sum()
    x.add_(1)
    assert a[0, 0] == 101
    x[1] = 7
    x[:, 2].mul_(2)
    assert (a[1] == [7, 7, 14, 7]).all()
    x.t()[3, 0] = -1
    assert a[0, 3] == -1
    n = x.numpy()
    assert np.shares_memory(n, a) and x.data_ptr() == a.ctypes.data == x.untyped_storage().data_ptr()
    n[2] = 0
    assert a[2].sum() == 0 and x[2].sum().item() == 0
    x.zero_()
    assert not a.any()


def test_what_waits_keeps_its_values(host):
    a = array()
    x = lazygrad.from_numpy(a)
    before, part, seen = x * 2, x[1] + 1, x.clone()
    a += 10
    after = x * 2
    a += 10
    assert (before.numpy() == array() * 2).all() and (part.numpy() == array()[1] + 1).all()
    assert (after.numpy() == (array() + 10) * 2).all() and (seen.numpy() == array()).all()
    assert (x.numpy() == array() + 20).all()


def test_arrays_of_tensors(host):
    x = lazygrad.arange(6.0).reshape(2, 3) + 1
    n = x.numpy()
    assert n.flags.writeable and (n == [[1, 2, 3], [4, 5, 6]]).all()
    waiting = x * 2
    n[0, 0] = 50
    assert x[0, 0].item() == 50 and waiting[0, 0].item() == 2
    x += 1
    assert n[0, 0] == 51
    row, turned = x[1].numpy(), x.t().detach().numpy()
    assert np.shares_memory(row, n) and turned.strides == (4, 12)
    row[:] = 0
    assert n[1].sum() == 0 and turned[:, 1].sum() == 0
    assert np.shares_memory(np.asarray(x), n) and not np.shares_memory(np.array(x), n)
    assert np.asarray(x, np.float64).dtype == np.float64
    with pytest.raises(ValueError):
        np.asarray(x, np.float64, copy=False)
    assert lazygrad.zeros(3).expand(2, 3).numpy().strides == (0, 4)
    assert lazygrad.tensor(3).numpy().shape == () and lazygrad.zeros(0, 3).numpy().shape == (0, 3)
    single = lazygrad.tensor(1.5)
    single.numpy()[...] = 2.5
    assert single.item() == 2.5


def test_memory_that_nobody_else_holds_is_read_as_it_is(host):
    x = lazygrad.from_numpy(array())
    assert (x + 1).sum().item() == 78 and x.cell.shared is None
    a = array()
    y = lazygrad.from_numpy(a[1:])
    del a
    assert (y + 1).sum().item() == 68 and y.cell.shared is None
    a = array()
    z = lazygrad.from_numpy(a.T)
    assert (z + 1).sum().item() == 78 and z.cell.shared is not None
    part = a[0]
    del a
    assert (z + 1).sum().item() == 78 and z.cell.shared is not None
    part[0] = 10
    del part
    assert (z + 1).sum().item() == 88 and z.cell.shared is None
    w = lazygrad.ones(3)
    n = w.numpy()
    n[1] = 5
    del n
    gc.collect()
    assert (w + 1).tolist() == [2, 6, 2] and w.cell.shared is None


def test_small_parts_of_large_arrays_are_copied_alone(host):
    a = np.zeros((1000, 64), np.float32)
    x = lazygrad.from_numpy(a)
    for k in range(0, 1000, 250):
        a[k] = k
        batch = x[k:k + 10]
        assert (batch * 2).sum().item() == 2 * 64 * k and batch._plain.arg.nbytes == 10 * 64 * 4
    a[:] = 1
    assert (x[0:1000:7] + x[500]).sum().item() == 2 * 64 * 143


def test_copies_are_made_again_only_after_changes(host):
    a = np.ones((100, 64), np.float32)
    x = lazygrad.from_numpy(a)
    rows = lazygrad.tensor([3, 5])
    first = x.plain_node()
    for _ in range(3):
        assert (x[rows] * 2 + x[0]).sum().item() == 2 * 64 * 3 and (x * 2).sum().item() == 2 * a.size
        assert x.plain_node() is first
    a[3, 3] = 7
    assert x.plain_node() is not first and x[rows].sum().item() == 2 * 64 + 6
    x += 1
    assert x.plain_node() is x.plain_node() and a[3, 3] == 8


@pytest.mark.parametrize("kind", ["bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64",
                                  "uint64", "float16", "float32", "float64"])
def test_types(kind):
    a = array((2, 3), kind)
    x = lazygrad.from_numpy(a)
    assert x.dtype is lazygrad.dtypes.BY_NAME[kind] and np.shares_memory(x.numpy(), a)
    x[0, 0] = 1
    a[0, 1] = 1
    assert x.tolist() == a.tolist() and (x.reshape(-1) == lazygrad.tensor(a).reshape(-1)).all()
    assert lazygrad.as_tensor(a).data_ptr() == lazygrad.asarray(a).data_ptr() == a.ctypes.data


LAYOUTS = {
    "transposed": lambda a: a.T,
    "rows": lambda a: a[1:3],
    "columns": lambda a: a[:, 1:3],
    "steps": lambda a: a[::2, ::3],
    "diagonal": lambda a: np.lib.stride_tricks.as_strided(a, (3,), (20,)),
    "windows": lambda a: np.lib.stride_tricks.sliding_window_view(a, 2, 1, writeable=True),
    "broadcast": lambda a: np.lib.stride_tricks.as_strided(a, (2, 3, 4), (0, 16, 4)),
    "single": lambda a: a[1, 2:3].reshape(()),
    "fortran": lambda a: np.asfortranarray(a),
    "new axis": lambda a: a[:, None],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    a = LAYOUTS[layout](array())
    torch = pytorch()
    ours, theirs = lazygrad.from_numpy(a), torch.from_numpy(a)
    assert ours.stride() == theirs.stride() and ours.storage_offset() == theirs.storage_offset()
    assert ours.tolist() == a.tolist() and (ours * 2).tolist() == (a * 2).tolist()
    b = np.array(a) + 1
    if layout not in ("windows", "broadcast"):
        ours.copy_(lazygrad.tensor(b))
        assert (a == b).all()
        a -= 1
        assert ours.tolist() == a.tolist()
    assert ours.numpy().strides == theirs.numpy().strides
    assert lazygrad.from_dlpack(a).tolist() == a.tolist()


def failing(package):
    readonly = np.arange(3.0)
    readonly.flags.writeable = False
    data = bytearray(b"12345678")
    grad = package.ones(2, requires_grad=True)
    int32 = package.int32
    return [
        lambda: package.from_numpy(np.arange(3)[::-1]),
        lambda: package.as_tensor(np.arange(3)[::-1]),
        lambda: package.from_numpy(np.arange(3).astype(">i4")),
        lambda: package.from_numpy(np.array(["a"])),
        lambda: package.from_numpy([1]),
        lambda: package.from_numpy(np.lib.stride_tricks.as_strided(np.zeros(10, np.float32), (2,), (6,))),
        lambda: package.frombuffer(data, dtype=int32, count=0),
        lambda: package.frombuffer(data, dtype=int32, count=3),
        lambda: package.frombuffer(data, dtype=int32, offset=8),
        lambda: package.frombuffer(data, dtype=int32, offset=2),
        lambda: package.frombuffer(data, dtype=int32, offset=-1),
        lambda: package.frombuffer(bytearray(), dtype=int32),
        lambda: package.frombuffer([1], dtype=int32),
        lambda: package.frombuffer(data),
        lambda: grad.__dlpack__(),
        lambda: package.from_dlpack(3),
        lambda: grad.numpy(),
        lambda: package.ones(2).bfloat16().numpy(),
    ]


def test_errors_are_those_of_pytorch():
    torch = pytorch()
    for ours, theirs in zip(failing(lazygrad), failing(torch), strict=True):
        try:
            expected = outcome(theirs)
        except BufferError as problem:
            expected = problem
        assert isinstance(expected, Exception)
        with pytest.raises(type(expected)) as problem:
            ours()
        assert not isinstance(problem.value, AssertionError)


def test_read_only_memory_is_never_written():
    a = array()
    a.flags.writeable = False
    with pytest.warns(UserWarning, match="not writable"):
        x = lazygrad.from_numpy(a)
    assert (x + 1).sum().item() == 78
    x += 1
    assert a[0, 0] == 0 and x[0, 0].item() == 1
    with pytest.warns(UserWarning, match="not writable"):
        y = lazygrad.frombuffer(b"\x01\x02\x03", dtype=lazygrad.uint8)
    y *= 2
    assert y.tolist() == [2, 4, 6]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        z = lazygrad.from_numpy(a)
    optimizer = optim.SGD([nn.Parameter(z)], lr=1.0)
    optimizer.param_groups[0]["params"][0].grad = lazygrad.ones(3, 4)
    optimizer.step()
    assert a[0, 0] == 0


def test_bytes(tmp_path):
    data = bytearray(np.arange(4, dtype=np.float32).tobytes())
    x = lazygrad.frombuffer(data, dtype=lazygrad.float32, offset=4, count=2)
    assert x.tolist() == [1, 2]
    x[0] = 9
    assert np.frombuffer(data, np.float32)[1] == 9
    data[4:8] = np.float32(5).tobytes()
    assert x[0].item() == 5 and (x * 2).tolist() == [10, 4]
    odd = lazygrad.frombuffer(data, dtype=lazygrad.float32, offset=1, count=1)  # between elements
    odd.fill_(2.0)
    assert bytes(data[1:5]) == np.float32(2).tobytes() and (odd + 1).item() == 3.0
    (tmp_path / "x").write_bytes(bytes(8))
    with open(tmp_path / "x", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        y = lazygrad.frombuffer(mapped, dtype=lazygrad.int32)
        y += 3
        assert mapped[:8] == np.array([3, 3], np.int32).tobytes()
        del y
        gc.collect()
    b = lazygrad.frombuffer(bytearray(4), dtype=lazygrad.bfloat16)
    b += 1.5
    assert b.tolist() == [1.5, 1.5]


def test_asarray():
    a, x = array(), lazygrad.ones(2)
    assert lazygrad.asarray(x) is x and lazygrad.asarray(x, copy=True) is not x
    assert not np.shares_memory(lazygrad.asarray(a, copy=True).numpy(), a)
    assert lazygrad.asarray(a, dtype=lazygrad.float64).dtype is lazygrad.float64
    with pytest.raises(ValueError, match="alias"):
        lazygrad.asarray(a, dtype=lazygrad.float64, copy=False)
    with pytest.raises(ValueError, match="alias"):
        lazygrad.asarray([1, 2], copy=False)
    assert lazygrad.asarray(bytearray(8)).shape == (2,) and lazygrad.asarray(5).item() == 5
    assert lazygrad.asarray([1.0], requires_grad=True).requires_grad
    assert lazygrad.as_tensor(np.float32(3)).dtype is lazygrad.float32
    assert not np.shares_memory(lazygrad.tensor(a).numpy(), a)


@pytest.mark.parametrize("kind", ["bool", "uint8", "int16", "int64", "uint32", "float16", "bfloat16",
                                  "float32"])
def test_dlpack_with_pytorch(kind):
    torch = pytorch()
    ours = lazygrad.arange(12).reshape(3, 4).to(lazygrad.dtypes.BY_NAME[kind])
    waiting = ours + ours
    shown = torch.from_dlpack(ours.t()[1:])
    assert shown.stride() == (1, 4) and shown.dtype is getattr(torch, kind)
    shown[0, 0] = 0
    ours[2, 3] = 1
    assert ours[0, 1].item() == 0 and shown[2, 2].item() == 1 and waiting[0, 1].item() in (True, 2)
    theirs = torch.arange(12).reshape(3, 4).to(getattr(torch, kind))
    x = lazygrad.from_dlpack(theirs.t())
    assert x.stride() == (1, 4) and x.data_ptr() == theirs.data_ptr()
    theirs[0, 0] = 1
    x[1, 1] = 0
    assert x[0, 0].item() == 1 and theirs[1, 1].item() == 0
    del theirs, shown
    gc.collect()
    assert x.tolist()[3][2] in (True, 11)


def test_dlpack_with_numpy_and_capsules():
    x = lazygrad.arange(6.0)
    n = np.from_dlpack(x)
    assert n.tolist() == x.tolist() and x.__dlpack_device__() == (1, 0)
    x += 1
    assert n[0] == 1
    a = array()
    assert lazygrad.from_dlpack(a).data_ptr() == a.ctypes.data
    assert lazygrad.from_dlpack(a, copy=True).data_ptr() != a.ctypes.data
    capsule = lazygrad.to_dlpack(x)
    y = lazygrad.from_dlpack(capsule)
    y[0] = 40
    assert x[0].item() == 40
    with pytest.raises(RuntimeError, match="invalid capsule"):
        lazygrad.from_dlpack(capsule)
    for unused in (x.__dlpack__(), x.__dlpack__(max_version=(1, 0))):
        del unused  # its own destructor gives the memory back
    del n, y
    gc.collect()
    assert (x + 0).tolist()[0] == 40 and x.cell.shared is None
    with pytest.raises(LazygradError):
        lazygrad.from_dlpack(np.zeros(2, complex))


def test_gradients_see_what_is_written_outside():
    a = np.ones(3, np.float32)
    p = nn.Parameter(lazygrad.from_numpy(a))
    assert (p * p).sum().item() == 3
    a[:] = 2
    loss = (p * p).sum()
    loss.backward()
    assert loss.item() == 12 and p.grad.tolist() == [4, 4, 4]
    optimizer = optim.SGD([p], lr=0.25)
    optimizer.step()
    assert a.tolist() == [1, 1, 1]
    x = lazygrad.ones(3, requires_grad=True)
    y = x * 3
    n = y.detach().numpy()
    n[0] = 10
    z = (y * y).sum()
    assert z.item() == 100 + 9 + 9
    z.backward()
    assert x.grad.tolist()[1:] == [18, 18]


def test_recorded_calls_see_what_is_written_outside(host):
    a = np.ones(4, np.float32)
    total = np.zeros(4, np.float32)
    x, sums = lazygrad.from_numpy(a), lazygrad.from_numpy(total)

    @lazygrad.jit
    def step(x):
        sums.add_(x * 2)
        return x + 1

    for k in range(5):
        a[:] = k
        assert step(x).tolist() == [k + 1] * 4
        assert total[0] == sum(2 * i for i in range(k + 1))
    total[:] = 100
    step(x)
    assert total[0] == 108
    data = np.arange(40, dtype=np.float32).reshape(10, 4)
    rows = lazygrad.from_numpy(data)
    for k in range(10):
        data[k] += 1
        assert step(rows[k]).tolist() == (data[k] + 1).tolist()

    picks = np.array([0, 1, 2])
    table, places = lazygrad.arange(5.0), lazygrad.from_numpy(picks)
    pick = lazygrad.jit(lambda places: table[places] * 2)
    for k in range(4):
        assert pick(places).tolist() == (picks * 2.0).tolist()
        picks[k % 3] = 4
    picks[0] = 1000
    with pytest.raises((IndexError, LazygradError)):
        pick(places).tolist()


def test_training_with_arrays_that_others_hold():
    lazygrad.manual_seed(0)
    layer = nn.Linear(4, 1)
    optimizer = optim.Adam(layer.parameters(), lr=0.1)
    weight = layer.weight.detach().numpy()
    first = weight.copy()
    batch = np.zeros((8, 4), np.float32)
    losses = []
    for k in range(5):
        batch[:] = np.linspace(0, 1 + 0 * k, 32).reshape(8, 4)
        optimizer.zero_grad()
        loss = ((layer(lazygrad.from_numpy(batch)) - 3) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True) and not (weight == first).any()
    assert (weight == layer.weight.detach().numpy()).all()


def test_set():
    torch = pytorch()

    def run(m):
        x, y = m.arange(6.0), m.empty(0)
        found = [y.set_(x).tolist(), y.is_set_to(x), y.data_ptr() == x.data_ptr()]
        y[0] = 5
        found += [x[0].item(), y.set_(x.untyped_storage(), 1, (2,), (2,)).tolist(), y.is_set_to(x)]
        found += [y.set_(x.untyped_storage(), 1, (2, 2)).tolist(), y.stride(), y.storage_offset()]
        found += [y.set_(x, 2, (2,), (1,)).tolist(), y.set_(x.untyped_storage()).tolist(), y.set_().tolist()]
        return found

    assert run(lazygrad) == run(torch)
    with pytest.raises(RuntimeError, match="Could not set"):
        lazygrad.empty(0, dtype=lazygrad.int32).set_(lazygrad.ones(2))
    with pytest.raises(RuntimeError, match="in-place"):
        lazygrad.ones(2, requires_grad=True).set_(lazygrad.ones(2))
    with pytest.raises(RuntimeError, match="out of bounds"):
        lazygrad.empty(0).set_(lazygrad.ones(2).untyped_storage(), 1, (2,), (1,))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_processes_share_memory():
    x = lazygrad.zeros(4)
    waiting = x + 1
    assert x.share_memory_() is x and x.is_shared() and not waiting.is_shared()
    child = os.fork()
    if not child:
        x.add_(2.0)
        os._exit(0 if x.tolist() == [2.0] * 4 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert x.tolist() == [2.0] * 4 and (x * 2).tolist() == [4.0] * 4 and waiting.tolist() == [1.0] * 4
    assert x.numpy().tolist() == [2.0] * 4 and x.share_memory_().is_shared()


def test_storages_as_objects():
    from lazygrad.storage import TypedStorage, UntypedStorage

    x = lazygrad.arange(4.0)
    typed, untyped = x.storage(), x.untyped_storage()
    assert type(typed) is TypedStorage and type(untyped) is UntypedStorage
    assert untyped is x[1:].untyped_storage()
    assert len(typed) == typed.size() == 4
    assert typed.nbytes() == untyped.nbytes() == untyped.size() == 16
    assert typed.data_ptr() == untyped.data_ptr() == x.data_ptr() == x[1:].data_ptr() - 4
    typed[2] = 9.0
    assert x.tolist() == typed.tolist() == list(typed) == [0, 1, 9, 3] and typed[1] == 1.0
    assert untyped.tolist()[8:12] == list(np.float32(9).tobytes()) and untyped[11] == 65
    other = untyped.clone()
    x.zero_()
    assert lazygrad.empty(0).set_(other).tolist() == [0, 1, 9, 3] and UntypedStorage(4).tolist() == [0] * 4
    assert x.clone().data_ptr() != x.data_ptr()


def test_dlpack_of_utils():
    from lazygrad.utils import dlpack

    x = lazygrad.arange(3.0)
    dlpack.from_dlpack(dlpack.to_dlpack(x))[0] = 7
    assert x[0].item() == 7


# Random programs, beside PyTorch


class Side:
    """One package's tensors and arrays of a random program."""

    def __init__(self, package):
        self.package = package
        self.array = np.arange(12, dtype=np.float64).reshape(3, 4)
        self.tensors = [package.from_numpy(self.array), package.ones(3, 4, dtype=package.float64)]
        self.arrays = [self.array]
        self.waiting = []

    def run(self, act, i, j, k):
        x, n = self.tensors[i % len(self.tensors)], self.arrays[j % len(self.arrays)]
        if act == "array":
            self.arrays.append(x.numpy())
        elif act == "drop" and len(self.arrays) > 1:
            del self.arrays[j % len(self.arrays)]
        elif act == "view":
            self.tensors.append([x.t, lambda: x[k % x.shape[0]:], lambda: x[:, ::2], x.detach][k % 4]())
        elif act == "wait":
            self.waiting.append(x * (k + 1) + x.sum())
        elif act == "result":
            self.tensors.append(x + k)
        elif act == "outside":
            n[k % n.shape[0]] += k
        elif act == "add":
            x.add_(k)
        elif act == "set":
            x[k % x.shape[0]] = k
        elif act == "copy":
            other = self.tensors[j % len(self.tensors)]
            if other.shape == x.shape:
                x.copy_(other)
        elif act == "through":
            self.tensors.append(self.package.from_numpy(n))

    def all(self):
        return [v.tolist() for v in (*self.tensors, *self.waiting, *self.arrays)]


ACTS = ["array", "drop", "view", "wait", "result", "outside", "add", "set", "copy", "through"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ACTS), *[st.integers(0, 7)] * 3), max_size=14), st.booleans())
def test_random_programs(program, look_often):
    torch = pytorch()
    ours, theirs = Side(lazygrad), Side(torch)
    for act in program:
        ours.run(*act)
        theirs.run(*act)
        if look_often:
            assert ours.all() == theirs.all(), act
    assert ours.all() == theirs.all()
