"""Views as another dtype: bits beside NumPy's and PyTorch's, sizes and strides, errors, shared storage."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lazygrad as lazy
from lazygrad.errors import ShapeError

NUMPY = (
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
    "uint16",
    "uint32",
    "uint64",
)


@pytest.mark.parametrize("source", NUMPY)
def test_bits_of_every_pair(source: str, device: str) -> None:
    raw = np.random.default_rng(0).integers(0, 255, (3, 16), np.uint8)
    for target in NUMPY:
        x = lazy.tensor(raw, device=device).view(getattr(lazy, source)).view(getattr(lazy, target))
        wanted = raw.view(source).view(target)
        assert x.dtype is getattr(lazy, target) and tuple(x.shape) == wanted.shape
        assert x.stride() == tuple(s // wanted.itemsize for s in wanted.strides)
        assert x.numpy().tobytes() == wanted.tobytes()


def test_bools_and_bfloat16(device: str) -> None:
    x = lazy.tensor([1, 768, 0], dtype=lazy.int16, device=device)
    assert x.view(lazy.bool).int().tolist() == [1, 0, 0, 1, 0, 0]
    ones = lazy.ones(2, dtype=lazy.bfloat16, device=device)
    assert ones.view(lazy.uint8).tolist() == [0x80, 0x3F] * 2
    assert ones.view(lazy.int32).tolist() == [0x3F803F80]
    assert lazy.ones(4, dtype=lazy.bool, device=device).view(lazy.int32).tolist() == [0x01010101]


def _kept(t: Any, x: Any, change: Callable[[Any], Any]) -> Any:
    change(x)
    return x


def _counted(t: Any, *shape: int, dtype: str = "float32") -> Any:
    return t.arange(int(np.prod(shape)), dtype=getattr(t, dtype)).reshape(shape)


# what a tensor is: its sizes, strides, offset and elements
VIEWS: dict[str, Callable[[Any], Any]] = {
    "wider": lambda t: _counted(t, 3, 4).view(t.int64),
    "narrower": lambda t: _counted(t, 3, 4).view(dtype=t.int16),
    "rows": lambda t: _counted(t, 3, 4)[1:, :2].view(t.int64),
    "columns": lambda t: _counted(t, 3, 4)[:, 2:].view(t.float64),
    "columns narrower": lambda t: _counted(t, 3, 4)[:, 1:3].view(t.int16),
    "permuted": lambda t: _counted(t, 2, 3, 4).permute(1, 0, 2).view(t.int64),
    "expanded": lambda t: _counted(t, 1, 4).expand(3, 4).view(t.int64),
    "no rows": lambda t: t.zeros(0, 4).view(t.int64),
    "no columns": lambda t: t.zeros(4, 0).view(t.int16),
    "one column": lambda t: t.ones(3, 1).view(t.int16),
    "the same width": lambda t: _counted(t, 4, 3).t().view(t.int32),
    "a number": lambda t: t.tensor(1.5).view(t.int32),
    "there and back": lambda t: _counted(t, 3, 4).view(t.uint8).view(t.float32),
    "a view's storage": lambda t: t.as_strided(_counted(t, 6).view(t.int16)[2:8], (3,), (2,), 1),
    "an odd storage": lambda t: t.as_strided(_counted(t, 5, dtype="uint8")[:4].view(t.int16), (2,), (1,)),
    "written narrower": lambda t: _kept(t, t.zeros(2, 2), lambda x: x.view(t.int16)[0].fill_(0x3F80)),
    "written wider": lambda t: _kept(t, t.zeros(2, 4), lambda x: x[:, 2:].view(t.int64).add_(1 << 40)),
    "written twice": lambda t: _kept(
        t, t.zeros(2, 4), lambda x: x.view(t.int16)[:, 4:8].view(t.int64).fill_(0x3F80_0000_4000_0000)
    ),
    "written in steps": lambda t: _kept(t, t.zeros(8), lambda x: x.view(t.uint8)[3::4].fill_(64)),
    "seen after a write": lambda t: (lambda x, v: (x.fill_(2.0), v)[1])(
        *(lambda x: (x, x.view(t.int16)))(t.zeros(3))
    ),
    "set_": lambda t: t.tensor([], dtype=t.uint8).set_(_counted(t, 3).untyped_storage()),
    "pickled": lambda t: pickle.loads(pickle.dumps(_counted(t, 6).view(t.int16)[2:8])),
    "copied": lambda t: copy.deepcopy(_counted(t, 6).view(t.int16)[2:8]),
}


def _told(x: Any) -> tuple[Any, ...]:
    name = str(x.dtype).rpartition(".")[2]
    return name, tuple(x.shape), x.stride(), x.storage_offset(), x.tolist(), x.untyped_storage().nbytes()


@pytest.mark.parametrize("name", VIEWS)
def test_beside_torch(name: str, device: str) -> None:
    torch = pytest.importorskip("torch")
    with lazy.device(device):
        assert _told(VIEWS[name](lazy)) == _told(VIEWS[name](torch))


ERRORS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "size": (
        lambda t: t.ones(2, 3).view(t.int64),
        r"size\(-1\) must be divisible by 2 to view Float as Long",
    ),
    "offset": (
        lambda t: t.ones(2, 4)[:, 1:3].view(t.int64),
        r"storage_offset\(\) must be divisible by 2 .* got 1",
    ),
    "last stride": (
        lambda t: t.ones(4, 4).t().view(t.int16),
        r"stride\(-1\) must be 1 to view Float as Short",
    ),
    "other stride": (
        lambda t: t.ones(9).as_strided((2, 2), (3, 1)).view(t.int64),
        r"stride\(0\) must be divisible by 2 .* but got 3",
    ),
    "number": (lambda t: t.tensor(1.0).view(t.int16), r"dim\(\) cannot be 0 to view Float as Short"),
    "gradient": (
        lambda t: t.ones(4, requires_grad=True).view(t.bfloat16).float().sum().backward(),
        "does not require grad",
    ),
    "gradient of the same": (
        lambda t: t.ones(4, requires_grad=True).view(t.float32).sum().backward(),
        "does not require grad",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    call, message = ERRORS[name]
    with pytest.raises(RuntimeError, match=message):
        call(lazy)
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError, match=message):
        call(torch)


def test_what_is_refused_changes_nothing() -> None:
    x = lazy.ones(2, 3)
    with pytest.raises(ShapeError):
        x.view(lazy.int64)
    assert x.tolist() == [[1.0] * 3] * 2


def test_saved_and_under_transforms(tmp_path: Any) -> None:
    x = _counted(lazy, 2, 4)
    file = io.BytesIO()
    lazy.save(x.view(lazy.int16)[1:], file)
    file.seek(0)
    assert lazy.load(file).tolist() == x.view(lazy.int16)[1:].tolist()
    assert lazy.func.vmap(lambda row: row.view(lazy.int64))(x).tolist() == x.view(lazy.int64).tolist()
    total = lazy.jit(lambda t: t.view(lazy.int16).sum())
    assert [total(x + i).item() for i in range(3)] == [
        (x + i).view(lazy.int16).sum().item() for i in range(3)
    ]
