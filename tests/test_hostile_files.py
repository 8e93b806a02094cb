"""Files that are damaged, cut short, or mean harm: each gives an error of lazygrad's, or values that are as
sound as any; nothing is run, written, or taken more memory for than the file can fill."""

import collections
import copyreg
import io
import os
import pickle
import struct
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lazygrad
from lazygrad import safetensors, serialization
from lazygrad.errors import FileFormatError, LazygradError, TruncatedFileError, UnsafeFileError
from lazygrad.serialization import rebuild
from lazygrad.serialization.pickle_reader import PickleReader
from lazygrad.serialization.reading import safely
from lazygrad.serialization.sources import Cursor, Source

SYSTEM = os.system
ran = []


def harm(*args):
    """What no file may have called."""
    ran.append(args)


@pytest.fixture(autouse=True)
def nothing_ran(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "system", harm)
    monkeypatch.setattr(sys.modules[SYSTEM.__module__], "system", harm)
    yield
    assert not ran and not list(tmp_path.iterdir())


def unpickled(data):
    return safely()(Cursor(Source(io.BytesIO(data), "the file")), lambda saved: saved)


def saved(value, **options):
    file = io.BytesIO()
    lazygrad.save(value, file, **options)
    return file.getvalue()


def whole():
    base = lazygrad.arange(12.0).reshape(3, 4)
    state = collections.OrderedDict(a=base, b=base.t(), c=lazygrad.nn.Parameter(base[1:, 1:3]))
    state._metadata = {"": {"version": 2}}
    return {"state": state, "flags": lazygrad.tensor([True, False]), "half": lazygrad.ones(5).bfloat16(),
            "step": [3, 0.5, "name", None, (1, {2})]}


def without_sums(data):
    """A zip file with zeros for its check sums: damage of its bytes is not noticed."""
    made = bytearray(data)
    for mark, place in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        start = made.find(mark)
        while start >= 0:
            made[start + place:start + place + 4] = bytes(4)
            start = made.find(mark, start + 4)
    return bytes(made)


def example(kind):
    if kind == "safetensors":
        return safetensors.save({"x": lazygrad.arange(6.0).reshape(2, 3), "y": lazygrad.tensor([True, False,
        True])}, {"format": "pt"})
    if kind.startswith("np"):
        file = io.BytesIO()
        arrays = {"x": np.arange(6.0).reshape(2, 3), "y": np.asfortranarray(np.eye(3)), "z": np.array(True)}
        np.savez(file, **arrays) if kind == "npz" else np.save(file, arrays["y"])
        return file.getvalue()
    data = saved(whole(), _use_new_zipfile_serialization=kind != "older")
    return without_sums(data) if kind == "zip without sums" else data


EXAMPLES = {kind: example(kind) for kind in ("zip", "zip without sums", "older", "safetensors",
                                              "npz", "npy")}


def read_all(kind, data):
    """What a file holds with every value read, or the error that it gave."""
    try:
        got = safetensors.load(data) if kind == "safetensors" else lazygrad.load(io.BytesIO(data))
    except LazygradError as problem:
        assert str(problem).startswith("["), problem
        return problem
    stack, seen = [got], 0
    while stack and seen < 1000:
        value = stack.pop()
        seen += 1
        if isinstance(value, lazygrad.Tensor) and value.numel() < 10**5:
            value.detach().tolist()
        elif isinstance(value, dict):
            stack += value.values()
        elif isinstance(value, list | tuple):
            stack += value
    return got


def test_examples_are_sound():
    for kind, data in EXAMPLES.items():
        assert not isinstance(read_all(kind, data), Exception), kind


@pytest.mark.parametrize("kind", EXAMPLES)
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_bytes_are_changed(kind, data):
    made = bytearray(EXAMPLES[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        made[data.draw(st.integers(0, len(made) - 1))] = data.draw(st.integers(0, 255))
    read_all(kind, bytes(made))


@pytest.mark.parametrize("kind", EXAMPLES)
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_parts_are_cut_out_or_moved(kind, data):
    made = EXAMPLES[kind]
    a, b, c = sorted(data.draw(st.tuples(*[st.integers(0, len(made))] * 3)))
    spliced = data.draw(st.sampled_from([made[:a], made[a:], made[:a] + made[b:], made[:b] + made[a:],
                                         made[:a] + made[b:c] + made[a:b] + made[c:],
                                         made[:a] + bytes(b - a) + made[b:]]))
    got = read_all(kind, spliced)
    if len(spliced) < len(made) and kind == "safetensors":
        assert isinstance(got, FileFormatError)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_place_to_cut(kind):
    data = EXAMPLES[kind]
    for end in range(0, len(data) - 1, max(1, len(data) // 97)):
        assert isinstance(read_all(kind, data[:end]), FileFormatError), end


def test_changed_weights_are_noticed():
    """Every byte of a storage in a zip file with sums."""
    data = EXAMPLES["zip"]
    start = data.index(np.arange(12, dtype=np.float32).tobytes())
    for place in range(start, start + 48, 5):
        made = bytearray(data)
        made[place] ^= 1
        assert isinstance(read_all("zip", bytes(made)), FileFormatError)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=6), st.sampled_from([
    b"(", b".", b"0", b"2", b"N", b"K\x01", b"]", b"}", b")", b"\x8f", b"t", b"\x85", b"\x86", b"\x87", b"a",
    b"e", b"s", b"u", b"R", b"\x81", b"\x92", b"b", b"q\x00", b"h\x00", b"\x94", b"Q", b"X\x01\x00\x00\x00x",
    b"ccollections\nOrderedDict\n", b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_parameter\n", b"ctorch._tensor\n_rebuild_from_type_v2\n", b"ctorch\nSize\n",
    b"ctorch\ndevice\n", b"c_codecs\nencode\n", b"cbuiltins\nset\n", b"cbuiltins\nbytearray\n",
    b"ccollections\nCounter\n", b"ctorch.nn.parameter\nParameter\n", b"ctorch\nTensor\n", b"cos\nsystem\n",
])), max_size=30))
def test_any_pickle_is_read_or_refused(parts):
    try:
        unpickled(b"\x80\x02" + b"".join(parts) + b".")
    except LazygradError:
        pass


class Reduces:
    def __init__(self, function, *args, state=None):
        self.value = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.value


def build_os():
    return b"\x80\x02ccollections\nOrderedDict\n)R}X\x06\x00\x00\x00popitemcos\nsystem\nsb."


MALICE = {
    "reduce": pickle.dumps(Reduces(os.system, "true"), 2),
    "reduce with a frame": pickle.dumps(Reduces(os.system, "true"), 5),
    "in text": pickle.dumps(Reduces(os.system, "true"), 0),
    "eval": pickle.dumps(Reduces(eval, "1"), 2),
    "eval of Python 2": b"c__builtin__\neval\n(X\x01\x00\x00\x001tR.",
    "getattr": pickle.dumps(Reduces(getattr, [], "append"), 2),
    "an attribute of a name": b"\x80\x04\x8c\x0bcollections\x8c\x17OrderedDict.fromkeys.__n\x93.",
    "a module behind PyTorch's": b"ctorch.serialization\nos.system\n(X\x01\x00\x00\x001tR.",
    "a function of NumPy": pickle.dumps(Reduces(np.load, "x"), 2),
    "a new object": b"\x80\x02csubprocess\nPopen\n(X\x01\x00\x00\x00xt\x81.",
    "an old instance": b"(X\x04\x00\x00\x00trueios\nsystem\n.",
    "an old object": b"(cos\nsystem\nX\x04\x00\x00\x00trueo.",
    "a state": build_os(),
    "a state of a type": b"\x80\x02ctorch\nfloat32\n}X\x04\x00\x00\x00nameX\x01\x00\x00\x00xsb.",
    "a state of a tensor's class": b"\x80\x02ctorch\nTensor\n}X\x01\x00\x00\x00xK\x01sb.",
    "an item of a class": b"\x80\x02ctorch\nTensor\nX\x01\x00\x00\x00xK\x01s.",
    "an item of a list": b"\x80\x02]K\x00K\x01s.",
    "appending to a set": b"\x80\x02cbuiltins\nset\n)RK\x01a.",
    "calling a type": b"\x80\x02ctorch\nfloat32\n)R.",
    "calling a tensor's class": b"\x80\x02ctorch\nTensor\n(K\x01tR.",
    "calling data": b"\x80\x02X\x01\x00\x00\x00x)R.",
    "rebuilding with another function": (
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(c_codecs\nencode\nctorch\nTensor\n"
        b"(X\x01\x00\x00\x00xt}tR."
    ),
    "a codec": b"\x80\x02c_codecs\nencode\n(X\x01\x00\x00\x00xX\x05\x00\x00\x00rot13tR.",
    "a persistent id in text": b"Pstorage\n.",
    "a buffer out of band": b"\x80\x05\x97.",
    "the arguments are no tuple": b"\x80\x02ccollections\nOrderedDict\n]R.",
    "a deep key": b"\x80\x02}" + b")" + b"\x85" * 100000 + b"Ns.",
    "a key of doubles": b"\x80\x02})" + b"2\x86" * 60 + b"Ns.",
    "a member of doubles": b"\x80\x04\x8f()" + b"2\x86" * 60 + b"\x90.",
}


@pytest.mark.parametrize("name", MALICE)
def test_malice_is_refused(name):
    data = MALICE[name]
    with pytest.raises(FileFormatError):
        unpickled(data)
    for packed in (zipped({"a/data.pkl": data}), older(data)):
        with pytest.raises(FileFormatError):
            lazygrad.load(io.BytesIO(packed))


def test_extension_codes_are_refused():
    copyreg.add_extension("test_hostile_files", "harm", 240)
    try:
        pickle.loads(b"\x80\x02\x82\xf00N.")  # so that Python's own machine would know it without asking
        with pytest.raises(UnsafeFileError, match="extension"):
            unpickled(b"\x80\x02\x82\xf0)R.")
    finally:
        copyreg.remove_extension("test_hostile_files", "harm", 240)
        copyreg.clear_extension_cache()


def test_refused_names_are_named():
    for data, name in ((MALICE["reduce"], "posix.system" if os.name == "posix" else "nt.system"),
                       (MALICE["eval"], "eval")):
        with pytest.raises(UnsafeFileError, match=name) as problem:
            unpickled(data)
        assert isinstance(problem.value, pickle.UnpicklingError) and "add_safe_globals" in str(problem.value)
    assert "posix.system" in serialization.get_unsafe_globals_in_checkpoint(
        io.BytesIO(zipped({"a/data.pkl": MALICE["reduce"]}))) or os.name != "posix"


def test_modules_of_the_system_cannot_be_made_safe():
    with serialization.safe_globals([(harm, "os.system")]), pytest.raises(UnsafeFileError, match="blocked"):
        lazygrad.load(io.BytesIO(EXAMPLES["zip"]))


def zipped(records, packing=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return file.getvalue()


def older(data):
    facts = {"protocol_version": 1001, "little_endian": True}
    before = b"".join(pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, facts))
    return before + data + pickle.dumps([], 2)


def tensor_pickle(
    offset=0, size=(2,), stride=(1,), count=4, key="0", kind="FloatStorage", rebuild="_rebuild_tensor_v2"
):
    """A tensor of a file, with any numbers."""

    class Writer(pickle._Pickler):
        def persistent_id(self, value):
            return ("storage", Name("torch", kind), key, "cpu", count) if value is storage else None

        def save(self, value, save_persistent_id=True):
            if isinstance(value, Name):
                return self.write(f"c{value.module}\n{value.name}\n".encode())
            return super().save(value, save_persistent_id)

    storage, file = object(), io.BytesIO()
    Writer(file, 2).dump(Reduces(Name("torch._utils", rebuild), storage, offset, size, stride, False, None))
    return file.getvalue()


class Name:
    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self):
        raise AssertionError


def test_the_tensor_of_these_tests_is_sound():
    data = zipped({"a/data.pkl": tensor_pickle(), "a/data/0": bytes(16)})
    assert lazygrad.load(io.BytesIO(data)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("numbers", [
    {"offset": -1}, {"offset": 3}, {"offset": 1 << 62}, {"offset": "0"}, {"offset": True}, {"offset": None},
    {"size": (5,)}, {"size": (-1,)}, {"size": (1 << 62, 1 << 62)}, {"size": ("a",)}, {"size": 3}, {"size":
    (2, 2)}, {"size": (1,) * 70, "stride": (0,) * 70}, {"size": (1 << 40,), "stride": (1,)}, {"size": (2.0,)},
    {"stride": (-1,)}, {"stride": (4,)}, {"stride": (1 << 62,)}, {"stride": ()}, {"stride": None},
    {"size": (1 << 31, 1 << 31), "stride": (1 << 31, 1)},
    {"count": 5}, {"count": 3}, {"count": -4}, {"count": 1 << 61}, {"count": "4"}, {"count": None},
    {"key": "1"}, {"key": "../secret"}, {"key": "/etc/passwd"}, {"key": None}, {"key": 0}, {"key": "x" *
    10**5}, {"kind": "DoubleStorage"}, {"kind": "Tensor"}, {"kind": "ComplexFloatStorage"},
    {"rebuild": "_rebuild_qtensor"}, {"rebuild": "_rebuild_sparse_tensor"}, {"rebuild": "_rebuild_parameter"},
], ids=str)
def test_absurd_tensors_are_refused(numbers):
    with pytest.raises(LazygradError):
        lazygrad.load(io.BytesIO(zipped({"a/data.pkl": tensor_pickle(**numbers), "a/data/0": bytes(16),
                                         "a/secret": b"x"})))


def test_private_parts_of_tensors_are_not_the_files_to_set():
    x = lazygrad.ones(2)
    for name in ("_history", "_chain", "_shape", "dtype", "requires_grad", "__class__"):
        with pytest.raises(UnsafeFileError):
            rebuild.rebuild_parameter_with_state(x, False, None, {name: 1})


def largest(run):
    """The memory that a call takes at most, in bytes, and the error that it gives."""
    tracemalloc.start()
    try:
        with pytest.raises(LazygradError) as problem:
            run()
        return tracemalloc.get_traced_memory()[1], problem.value
    finally:
        tracemalloc.stop()


def test_bombs_take_no_memory():
    count = 1 << 26
    records = {"a/data.pkl": tensor_pickle(count=count), "a/data/0": bytes(4 * count)}
    bombs = [zipped(records, zipfile.ZIP_DEFLATED)]
    assert len(bombs[0]) < 1 << 20
    bombs.append(zipped({"a/data.pkl": b" " * (1 << 27)}, zipfile.ZIP_DEFLATED))
    for letter, size in ((b"B", "<I"), (b"X", "<I"), (b"\x8e", "<Q"), (b"\x96", "<Q"), (b"\x8b", "<i")):
        long = b"\x80\x05" + letter + struct.pack(size, (1 << 31) - 1) + b"x."
        bombs += [zipped({"a/data.pkl": long}), long]
    bombs.append(older(b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
                       b"X\x03\x00\x00\x00cpu\x8a\x05\x00\x00\x00\x00\x04NtQ."))
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(huge, {"shape": (1 << 40,), "fortran_order": False, "descr": "<f8"})
    bombs += [huge.getvalue() + bytes(64), zipped({"x.npy": huge.getvalue() + bytes(64)})]
    for data in bombs:
        memory, problem = largest(lambda data=data: lazygrad.load(io.BytesIO(data)))
        assert memory < 1 << 26 and isinstance(problem, FileFormatError), (memory, problem)


def test_records_that_overlap_are_refused():
    data = bytearray(zipped({"a/data.pkl": b"\x80\x02N.", "a/x": bytes(100), "a/y": bytes(100)}))
    entries = [i for i in range(len(data)) if data[i:i + 4] == b"PK\x01\x02"]
    first, second = (int.from_bytes(data[i + 42:i + 46], "little") for i in entries[1:3])
    data[entries[2] + 42:entries[2] + 46] = first.to_bytes(4, "little")
    assert second > first
    with pytest.raises(FileFormatError):
        lazygrad.load(io.BytesIO(bytes(data)))


def test_archives_that_are_something_else():
    for records in ({"a/x": b""}, {"a/data.pkl": b"N.", "a/constants.pkl": b"N.", "a/code/x.py": b"pass"}):
        with pytest.raises(FileFormatError):
            lazygrad.load(io.BytesIO(zipped(records)))
    for data in (b"hello", b"\x00" * 1000, b"GIF89a" * 100, b"PK\x03\x04", zipped({})):
        with pytest.raises(FileFormatError):
            lazygrad.load(io.BytesIO(data))


def test_names_are_keys_not_paths(tmp_path):
    data = zipped({"a/data.pkl": b"K\x05.", "a/../../escape": b"x", "a//etc/x": b"y", "a/C:\\x": b"z"})
    assert lazygrad.load(io.BytesIO(data)) == 5 and not list(tmp_path.iterdir())


def test_truncated_files_say_so():
    with pytest.raises(TruncatedFileError, match="cut short"):
        lazygrad.load(io.BytesIO(EXAMPLES["older"][:-1]))
    with pytest.raises(FileFormatError, match="cut short"):
        safetensors.load(EXAMPLES["safetensors"][:100])


def header(text, data=b""):
    return len(text).to_bytes(8, "little") + text + data


SAME_NAME = (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
             b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}')
OVERLAP = (b'{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},'
           b'"b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}')
GAP = (b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},'
       b'"b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}}')
ENTRIES = [
    ('"F32"', "[2]", "[0,4]"), ('"F32"', "[2]", "[4,12]"), ('"F32"', "[2]", "[8,0]"), ('"X"', "[2]", "[0,8]"),
    ('"F32"', "[2.0]", "[0,8]"), ('"F32"', "2", "[0,8]"), ('"F32"', "[2]", "[0,8,8]"),
    ('"F32"', "[-2]", "[0,8]"),
    ("3", "[2]", "[0,8]"), ("[]", "[2]", "[0,8]"), ('"F32"', "[2]", "[-8,0]"), ('"F32"', "[true]", "[0,8]"),
    ('"F32"', "[4294967296,4294967296]", "[0,8]"), ('"F32"', "[2]", "[0,18446744073709551616]"),
    ('"F32"', "[0,99999999999999999999]", "[0,0]"), ('"F4"', "[3]", "[0,1]"), ('"F32"', "[3]", "[0,12]"),
    ('"C64"', "[1]", "[0,8]"),
]


@pytest.mark.parametrize("data", [
    b"", b"1234567", header(b""), header(b"[]"), header(b"{"), header(b'"a"'), header(b"\xff\xfe{}"),
    header(b"[" * 100000), header(b'{"a":' * 100000), (1 << 40).to_bytes(8, "little") + b"{}",
    (1 << 63).to_bytes(8, "little") + b"{}", header(b"{}", b"more"),
    header(b'{"__metadata__":{"a":1}}'), header(b'{"__metadata__":[]}'), header(b'{"a":1}'),
    header(b'{"a":{}}'), header(SAME_NAME, bytes(4)), header(OVERLAP, bytes(8)), header(GAP, bytes(6)),
    header(b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"more":1}}', bytes(2)),
    *(header(f'{{"a":{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}}}'.encode(), bytes(8))
      for dtype, shape, offsets in ENTRIES),
], ids=lambda data: repr(data[8:60]))
def test_absurd_safetensors_are_refused(data):
    with pytest.raises(LazygradError):
        safetensors.load(data)


def test_readers_keep_no_state():
    """A refused pickle leaves nothing behind for the next."""
    reader = Cursor(Source(io.BytesIO(b"\x80\x02K\x05q\x00cos\nsystem\n."), "x"))
    with pytest.raises(UnsafeFileError):
        PickleReader(reader, rebuild.NAMES, repr).load()
    with pytest.raises(FileFormatError):
        unpickled(b"\x80\x02h\x00.")


def test_the_environment_decides_what_may_be_read(monkeypatch):
    data = saved(Harmless())
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(UnsafeFileError, match="Harmless"):
        lazygrad.load(io.BytesIO(data), weights_only=False)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "yes")
    with pytest.raises(RuntimeError, match="both were set"):
        lazygrad.load(io.BytesIO(data))
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    with pytest.warns(UserWarning, match="forcing weights_only=False"):
        assert type(lazygrad.load(io.BytesIO(data))) is Harmless
    with pytest.raises(UnsafeFileError, match="Harmless"):
        lazygrad.load(io.BytesIO(data), weights_only=True)


class Harmless:
    """An object that no list of safe ones knows."""
