"""Deep copies and pickles of tensors, modules and optimizers: values, layouts and sharing are kept."""

import copy
import pickle

import numpy as np
import pytest
from torch_support import pytorch

import lazygrad
from lazygrad import nn, optim

WAYS = {"deepcopy": copy.deepcopy, **{f"pickle {p}": lambda x, p=p: pickle.loads(pickle.dumps(x, p))
                                      for p in (2, 4, 5)}}


@pytest.fixture(params=WAYS)
def again(request):
    return WAYS[request.param]


def test_storages_stay_shared(again):
    base = lazygrad.arange(12.0).reshape(3, 4)
    views = {"turned": base.t(), "row": base[1], "steps": base[:, ::2], "same": base}
    got = again({"base": base, **views})
    assert got["same"] is got["base"]
    assert got["turned"].stride() == (1, 4) and got["row"].storage_offset() == 4
    got["base"][1, 0] = 100.0
    assert got["turned"][0, 1].item() == got["row"][0].item() == got["steps"][1, 0].item() == 100.0
    assert base[1, 0].item() == 4.0
    base[0] = -1
    assert got["base"][0, 0].item() == 0.0


def test_layouts_are_those_of_pytorch(again):
    torch = pytorch()
    for make in (lambda m: m.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1), lambda m: m.ones(3).expand(2, 3),
                 lambda m: m.zeros(0, 2), lambda m: m.tensor(3), lambda m: m.arange(10)[3:8:2],
                 lambda m: m.tensor([True, False]), lambda m: m.ones(2).bfloat16()):
        ours, theirs = again(make(lazygrad)), again(make(torch))
        assert ours.stride() == theirs.stride() and ours.storage_offset() == theirs.storage_offset()
        assert ours.tolist() == theirs.tolist() and str(ours.dtype)[9:] == str(theirs.dtype)[6:]


def test_parameters_and_attributes(again):
    p = nn.Parameter(lazygrad.ones(3))
    p.tag = {"a": [1]}
    frozen = nn.Parameter(lazygrad.ones(2), requires_grad=False)
    got, other = again((p, frozen))
    assert type(got) is nn.Parameter and got.requires_grad and got.is_leaf and not other.requires_grad
    if again is copy.deepcopy:  # copies the values alone, as in PyTorch
        assert not hasattr(got, "tag")
    else:
        assert got.tag == {"a": [1]} and got.tag is not p.tag
    (got * 2).sum().backward()
    assert got.grad.tolist() == [2, 2, 2] and p.grad is None


def test_only_leaves_are_copied_deeply():
    x = lazygrad.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(x * 2)
    x.grad = lazygrad.ones(2)
    assert copy.deepcopy(x).grad is not x.grad and copy.deepcopy(x).grad.tolist() == [1, 1]


def test_shared_memory_is_not_shared_with_copies(again):
    a = np.ones(3, np.float32)
    x = lazygrad.from_numpy(a)
    y = again(x)
    a[:] = 2
    y += 10
    assert x.tolist() == [2, 2, 2] and y.tolist() == [11, 11, 11]


def test_buffers_out_of_band():
    x, buffers = lazygrad.arange(1000.0), []
    data = pickle.dumps(x, 5, buffer_callback=buffers.append)
    assert len(data) < 1000
    y = pickle.loads(data, buffers=buffers)
    y += 1
    assert x[5].item() == 5.0 and y[5].item() == 6.0


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 3)
        self.b.weight = nn.Parameter(self.a.weight.detach().t())  # one storage, two parameters
        self.register_buffer("steps", lazygrad.zeros(1))
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x):
        return self.norm(self.b(self.a(x).relu()))


def test_modules_and_optimizers(again):
    lazygrad.manual_seed(0)
    net = Net()
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    x = lazygrad.randn(5, 3)

    def step(net, optimizer, scheduler):
        optimizer.zero_grad()
        loss = (net(x) - x).square().sum()
        loss.backward()
        optimizer.step()
        scheduler.step()
        return loss.item()

    step(net, optimizer, scheduler)
    parts = again((net, optimizer, scheduler))
    assert parts[1].param_groups[0]["params"][0] is parts[0].a.weight
    for _ in range(3):
        assert step(*parts) == pytest.approx(step(net, optimizer, scheduler), rel=1e-5)
    assert parts[0].a.weight.data_ptr() == parts[0].b.weight.data_ptr() != net.a.weight.data_ptr()


def test_small_things(again):
    value = [lazygrad.float32, lazygrad.bfloat16, lazygrad.device("cpu"), lazygrad.Size([1, 2])]
    got = again(value)
    assert got[0] is lazygrad.float32 and got[1] is lazygrad.bfloat16
    assert got[2] == lazygrad.device("cpu") and type(got[3]) is lazygrad.Size and got[3] == (1, 2)
    storage = again(lazygrad.arange(3.0).untyped_storage())
    assert storage.nbytes() == 12 and bytes(storage.tolist()) == np.arange(3, dtype=np.float32).tobytes()
