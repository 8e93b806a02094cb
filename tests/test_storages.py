"""Storages and the legacy classes of storages and tensors: what each expression gives beside PyTorch's."""

import sys
import warnings

import pytest
from torch_support import outcome, pytorch

import lazygrad

SAME = """
    t.FloatStorage([1, 2, 3]); t.FloatStorage(2).size(); t.FloatStorage(); t.FloatStorage((1, 2)).tolist()
    t.FloatStorage; t.FloatStorage.dtype == t.float32; issubclass(t.FloatStorage, t.storage.TypedStorage)
    isinstance(t.ones(2).storage(), t.FloatStorage); isinstance(t.ones(2).storage(), t.LongStorage)
    t.ones(2).storage().type(); t.ones(2).untyped_storage().type(); t.Storage is t.FloatStorage
    t.arange(3).storage().float().type(); t.arange(3.).storage().long().tolist()
    t.ones(2).storage().half(); t.ones(2).storage().fill_(3).tolist()
    t.FloatStorage([1]).copy_(t.FloatStorage([7])).tolist()
    t.FloatStorage([1, 2]).copy_(t.LongStorage([1, 2])); t.FloatStorage([1]).is_shared()
    t.FloatStorage([1]).is_pinned(); t.FloatStorage([1]).get_device()
    t.LongStorage([1]).pickle_storage_type(); t.LongStorage([1])[0:1]; t.LongStorage([1, 2])[3]
    t.LongStorage([1])['a']; t.LongStorage([1, 2])[-1]; t.FloatStorage(2, 3); t.FloatStorage(2.5)
    t.FloatStorage([1], dtype=t.float32); t.FloatStorage([1], device='cpu')
    t.FloatStorage(wrap_storage=t.UntypedStorage(8)).size()
    t.FloatStorage(1, wrap_storage=t.UntypedStorage(8)); t.FloatStorage(wrap_storage=1)
    t.BoolStorage([True, False]); t.DoubleStorage([0.5]).nbytes(); t.TypedStorage(3).size()
    t.TypedStorage([1, 2], dtype=t.int8); t.TypedStorage(1, 2)
    t.TypedStorage(wrap_storage=t.UntypedStorage(4), dtype=t.int16).size()
    t.TypedStorage(dtype=t.int64).size(); t.TypedStorage(wrap_storage=t.UntypedStorage(4))
    t.is_storage(t.FloatStorage(1)); t.is_storage(t.ones(1)); t.UntypedStorage([1, 2, 3, 4])
    t.UntypedStorage([1, 2, 3, 4])[1:3].tolist(); t.UntypedStorage(2).nbytes()
    t.UntypedStorage([1]).fill_(5).tolist(); t.UntypedStorage([1]).copy_(t.UntypedStorage([9])).tolist()
    t.UntypedStorage([1]).copy_(t.UntypedStorage([1, 2])); t.UntypedStorage([1, 2]).float()
    t.UntypedStorage(); t.UntypedStorage([1, 2, 3]).resize_(2).tolist(); t.UntypedStorage([1]).new()
    t.UntypedStorage([1]).untyped(); t.UntypedStorage(2, device='cpu').size(); t.UntypedStorage('a')
    t.UntypedStorage([1]).is_sparse; t.FloatStorage.from_buffer(b'abcdefgh', 'big', count=1, offset=4)
    t.FloatStorage.from_buffer(b'abcdefgh', byte_order='native'); t.IntStorage([1]).element_size()
    t.FloatTensor([1, 2]); t.FloatTensor(2, 3).shape == (2, 3)
    t.FloatTensor(t.Size([2, 3])).shape == (2, 3); t.FloatTensor(); t.FloatTensor(t.ones(2))
    t.FloatTensor(t.ones(2).long()); t.FloatTensor((1, 2)); t.FloatTensor(5.0)
    t.FloatTensor([2], device='cpu'); t.LongTensor([1.5, 2]); t.LongTensor(2).dtype == t.int64
    t.FloatTensor(np.ones(3)); t.ByteTensor([True, 2]); t.FloatTensor(range(3))
    t.FloatTensor([[1, 2], [3, 4]]); t.FloatTensor([t.tensor(1.0), t.tensor(2.0)]); t.FloatTensor(1, 'a')
    t.FloatTensor([1], [2]); t.FloatTensor(-1); t.FloatTensor(t.ones(2), requires_grad=True)
    t.FloatTensor(None); t.FloatTensor('abc'); t.FloatTensor(size=(2,)).shape == (2,)
    t.FloatTensor(t.FloatStorage([1, 2])); t.FloatTensor(data=[1])
    t.FloatTensor(t.UntypedStorage(8)).shape == (2,); t.Tensor(t.FloatStorage([1, 2])); t.HalfTensor([1])
    t.Tensor(t.LongStorage([1, 2])); t.LongTensor(t.LongStorage([1, 2])); t.Tensor(t.ones(2).long())
    t.Tensor([True]); t.Tensor(2, 3).shape == (2, 3); t.BoolTensor([0, 1]); t.IntTensor([[1], [2]])
    t.FloatTensor.dtype == t.float32; t.FloatTensor.is_cuda; t.FloatTensor.__name__
    t.FloatTensor.layout == t.strided; issubclass(t.FloatTensor, t.Tensor); t.ones(2).type(t.LongTensor)
    t.ones(2).type('torch.LongTensor'); isinstance(t.ones(2), t.FloatTensor)
    t.ones(2).type('torch.FloatStorage'); isinstance(t.ones(2), t.LongTensor); t.ones(2).new([1, 2])
    t.arange(2).new(3).dtype == t.int64; t.FloatTensor(2.0, 3); t.FloatTensor(t.tensor(2))
    t.FloatTensor([[1], [2, 3]])
"""
EXPRESSIONS = [e.strip() for e in SAME.replace("\n", ";").split(";") if e.strip()]


def seen(m, expression):
    import numpy as np

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = outcome(lambda: eval(expression, {"t": m, "np": np}))
    return found if isinstance(found, Exception) else repr(found).replace("lazygrad.", "torch.")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions(expression):
    ours, theirs = seen(lazygrad, expression), seen(pytorch(), expression)
    if isinstance(theirs, Exception):
        assert isinstance(ours, type(theirs)), ours
    else:
        assert ours == theirs


def writes(m):
    x = m.arange(4.0)
    found = []
    for write in (
        lambda: x.untyped_storage().fill_(0),
        lambda: x.storage().__setitem__(2, 5),
        lambda: x.storage().fill_(7),
        lambda: x.untyped_storage().__setitem__(3, 64),
        lambda: x.untyped_storage().__setitem__(slice(4, 8), 0),
        lambda: x[1:3].storage().copy_(m.FloatStorage([1, 2, 3, 4])),
        lambda: x.untyped_storage().copy_(m.arange(4, dtype=m.int32).untyped_storage()),
    ):
        write()
        found.append((x.tolist(), x._version > 0))
    bytes_alone = m.UntypedStorage([1, 2, 3, 4, 5, 6, 7, 8])
    bytes_alone[0] = 9
    bytes_alone[2:4] = 0
    y = m.tensor([], dtype=m.int16).set_(bytes_alone)
    bytes_alone[7] = 0
    return found, y.tolist(), bytes_alone.tolist()


@pytest.mark.filterwarnings("ignore")
def test_writes_are_seen_by_tensors():
    ours, theirs = writes(lazygrad), writes(pytorch())
    assert [v for v, _ in ours[0]] == [v for v, _ in theirs[0]] and ours[1:] == theirs[1:]
    assert all(counted for _, counted in ours[0])


def test_what_has_no_legacy_name():
    x = lazygrad.ones(2, dtype=lazygrad.uint16)
    with pytest.raises(lazygrad.errors.DTypeError, match="uint16"):
        x.storage().pickle_storage_type()
    assert x.storage().tolist() == [1, 1]
    with pytest.raises(lazygrad.errors.UnsupportedError, match="tensor.resize_"):
        x.untyped_storage().resize_(100)


def test_sizes_with_what_is_held():
    """`sys.getsizeof` counts the elements, as tools that sum memory expect."""
    for storage in (lambda n: lazygrad.ones(n).untyped_storage(), lambda n: lazygrad.ones(n).storage()):
        assert sys.getsizeof(storage(1000)) - sys.getsizeof(storage(10)) == 4 * 990
