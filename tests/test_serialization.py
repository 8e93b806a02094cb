"""Files of PyTorch's formats: what lazygrad writes PyTorch reads, and the other way round, with storages
shared, strides, parameters, containers and attributes kept."""

import collections
import copy
import io
import mmap
import pathlib
import pickle
import stat
import sys
import zipfile

import numpy as np
import pytest
from torch_support import pytorch, values

import lazygrad
from lazygrad import nn, optim, serialization
from lazygrad.errors import DeviceError, DTypeError, FileFormatError, LazygradError
from lazygrad.tensors.storage import UntypedStorage

NAMES = ["bool", "uint8", "int8", "int16", "uint16", "float16", "bfloat16", "int32", "uint32", "float32",
         "float64", "int64", "uint64"]
FORMATS = [(True, 2), (True, 3), (True, 4), (True, 5), (False, 2), (False, 4)]


def saved(package, value, **options):
    file = io.BytesIO()
    package.save(value, file, **options)
    return file.getvalue()


def loaded(package, data, **options):
    return package.load(io.BytesIO(data), **options)


def crossed(value, to_theirs, new=True, protocol=2):
    """A value saved by one package and loaded by the other."""
    torch = pytorch()
    writer, reader = (lazygrad, torch) if to_theirs else (torch, lazygrad)
    data = saved(writer, value, _use_new_zipfile_serialization=new, pickle_protocol=protocol)
    options = {"weights_only": False} if reader is torch and protocol > 2 else {}  # it knows no newer pickles
    return loaded(reader, data, **options)


def check_same(ours, theirs):
    assert str(ours.dtype).rpartition(".")[2] == str(theirs.dtype).rpartition(".")[2]
    assert tuple(ours.shape) == tuple(theirs.shape) and tuple(ours.stride()) == tuple(theirs.stride())
    assert ours.storage_offset() == theirs.storage_offset()
    assert ours.requires_grad == theirs.requires_grad
    np.testing.assert_array_equal(values(ours), values(theirs))


def made_with(package):
    """Tensors of every kind and layout, and plain values."""
    base = package.arange(24.0).reshape(4, 6)
    of_type = {name: package.arange(6).reshape(2, 3).to(getattr(package, name)) for name in NAMES}
    return {
        **of_type,
        "base": base,
        "transposed": base.t(),
        "steps": base[1:3, ::2],
        "row": base[2],
        "diagonal": base.diagonal(),
        "permuted": package.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1),
        "expanded": package.zeros(3).expand(4, 3),
        "empty": package.zeros(2, 0),
        "single": package.tensor(3),
        "parameter": package.nn.Parameter(package.ones(3, 3) * 2),
        "frozen": package.nn.Parameter(package.ones(2), requires_grad=False),
        "leaf": package.ones(2, requires_grad=True),
    }


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("new,protocol", FORMATS)
@pytest.mark.parametrize("to_theirs", [False, True])
def test_tensors_cross_over(new, protocol, to_theirs):
    torch = pytorch()
    ours, theirs = made_with(lazygrad), made_with(torch)
    got = crossed(ours if to_theirs else theirs, to_theirs, new, protocol)
    assert list(got) == list(theirs)
    for name, x in got.items():
        check_same(*((ours[name], x) if to_theirs else (x, theirs[name])))
    assert isinstance(got["parameter"], (torch if to_theirs else lazygrad).nn.Parameter)
    assert not isinstance(got["leaf"], (torch if to_theirs else lazygrad).nn.Parameter)
    with (torch if to_theirs else lazygrad).no_grad():
        got["base"][1, 0] = 100.0
    assert got["transposed"][0, 1].item() == got["steps"][0, 0].item() == 100.0
    assert got["base"].data_ptr() == got["transposed"].data_ptr()


@pytest.mark.parametrize("to_theirs", [False, True])
def test_containers_cross_over(to_theirs):
    torch = pytorch()
    package, other = (lazygrad, torch) if to_theirs else (torch, lazygrad)
    x = package.ones(2)
    ordered = collections.OrderedDict([("b", x), ("a", (1, 2.5, None, True))])
    ordered._metadata = {"": {"version": 1}}
    value = {
        "ordered": ordered,
        "nested": [{"deep": [({"x": x},)]}, "text \u00e9", b"bytes", -1, 1 << 70, 0.1, float("inf")],
        "counter": collections.Counter("hello"),
        "set": {1, "a", (2, 3)},
        3: bytearray(b"abc"),
        (1, "k"): complex(1, 2),
        "size": package.Size([1, 2]),
        "dtype": package.bfloat16,
        "missing": package.complex64,
        "layout": package.strided,
        "device": package.device("cpu"),
    }
    got = crossed(value, to_theirs)
    assert got["ordered"]._metadata == ordered._metadata and list(got["ordered"]) == ["b", "a"]
    assert type(got["ordered"]) is collections.OrderedDict
    assert got["nested"][0]["deep"][0][0]["x"] is got["ordered"]["b"]
    assert got["nested"][1:] == value["nested"][1:]
    for name in ("counter", "set", 3, (1, "k")):
        assert got[name] == value[name] and type(got[name]) is type(value[name])
    assert type(got["size"]) is other.Size and got["size"] == (1, 2)
    assert got["missing"] is other.complex64 and got["layout"] is other.strided
    assert got["dtype"] is other.bfloat16 and str(got["device"]) == "cpu"


@pytest.mark.parametrize("to_theirs", [False, True])
def test_tensors_with_attributes_cross_over(to_theirs):
    torch = pytorch()
    package, other = (lazygrad, torch) if to_theirs else (torch, lazygrad)
    x, p = package.ones(2), package.nn.Parameter(package.ones(3))
    x.tag, p.lr_scale = "hello", 0.5
    got_x, got_p = crossed([x, p], to_theirs)
    assert got_x.tag == "hello" and type(got_x) is other.Tensor
    assert got_p.lr_scale == 0.5 and type(got_p) is other.nn.Parameter and got_p.requires_grad


def networks(package):
    package.manual_seed(1)
    model = package.nn.Sequential(package.nn.Linear(3, 4), package.nn.BatchNorm1d(4), package.nn.ReLU(),
                                  package.nn.Linear(4, 1))
    optimizer = package.optim.AdamW(model.parameters(), lr=0.01, amsgrad=True)
    return model, optimizer, package.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)


def steps(package, parts, count):
    model, optimizer, scheduler = parts
    x = package.arange(15.0).reshape(5, 3) / 15
    for _ in range(count):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return loss.item()


@pytest.mark.parametrize("to_theirs", [False, True])
def test_training_goes_on_in_the_other_package(to_theirs):
    torch = pytorch()
    package, other = (lazygrad, torch) if to_theirs else (torch, lazygrad)
    parts = networks(package)
    steps(package, parts, 3)
    got = crossed([part.state_dict() for part in parts], to_theirs)
    theirs = networks(other)
    for part, state in zip(theirs, got, strict=True):
        part.load_state_dict(state)
    assert theirs[2].get_last_lr() == parts[2].get_last_lr()
    for _ in range(3):
        assert steps(other, theirs, 1) == pytest.approx(steps(package, parts, 1), rel=1e-4)


def test_a_file_of_pytorch_that_the_test_makes_by_hand():
    """No PyTorch is needed to read: pickle and records as its files have them."""
    pickled = (b"\x80\x02}q\x00X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n"
               b"((X\x07\x00\x00\x00storage"
               b"ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
               b"K\x01K\x01K\x02\x86K\x03K\x01\x86\x89"
               b"ccollections\nOrderedDict\n)RtRs.")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/data.pkl", pickled)
        archive.writestr("model/data/0", np.arange(4, dtype="<f4").tobytes())
        archive.writestr("model/version", "3\n")
    w = loaded(lazygrad, file.getvalue())["w"]
    assert w.tolist() == [[1.0, 2.0]] and w.stride() == (3, 1) and w.storage_offset() == 1
    big = io.BytesIO()
    with zipfile.ZipFile(big, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", pickled)
        archive.writestr("model/data/0", np.arange(4, dtype=">f4").tobytes())
        archive.writestr("model/byteorder", "big")
    assert loaded(lazygrad, big.getvalue())["w"].tolist() == [[1.0, 2.0]]
    text = io.BytesIO()
    with zipfile.ZipFile(text, "w") as archive:  # a pickle in text, as protocol 0 has it
        archive.writestr("model/data.pkl", b"(lp0\nI1\naL5L\naF2.5\naI01\naVabc\nag0\na.")
    got = loaded(lazygrad, text.getvalue())
    assert got[:5] == [1, 5, 2.5, True, "abc"] and got[5] is got


def test_files_are_laid_out_for_mapping(tmp_path):
    path = tmp_path / "some model.pt"
    lazygrad.save({"a": lazygrad.ones(5), "b": lazygrad.zeros(3, dtype=lazygrad.int64)}, path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[0] == "some model/data.pkl" and "some model/byteorder" in archive.namelist()
        data = path.read_bytes()
        for info in archive.infolist():
            place = info.header_offset + 30 + int.from_bytes(data[info.header_offset + 26:][:2], "little")
            place += int.from_bytes(data[info.header_offset + 28:][:2], "little")
            assert place % 64 == 0 and data[place:place + info.file_size] == archive.read(info)


def test_mapped_files_are_not_changed(tmp_path):
    path = tmp_path / "x.pt"
    x = lazygrad.arange(1000.0)
    lazygrad.save({"x": x, "part": x[10:20], "flag": lazygrad.tensor([True, False])}, str(path))
    before = path.read_bytes()
    got = lazygrad.load(path, mmap=True)
    got["x"] += 1
    assert got["part"][0].item() == 11.0 and (got["x"] * 2).sum().item() == (x + 1).sum().item() * 2
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="file path"):
        lazygrad.load(io.BytesIO(before), mmap=True)
    lazygrad.save(1, path, _use_new_zipfile_serialization=False)
    with pytest.raises(LazygradError, match="mmap can only be used"):
        lazygrad.load(path, mmap=True)


def test_shared_mappings_write_to_the_file(tmp_path):
    lazygrad.save({"x": lazygrad.arange(4.0)}, tmp_path / "x.pt")
    with serialization.set_default_mmap_options(mmap.MAP_SHARED):
        assert serialization.get_default_mmap_options() == mmap.MAP_SHARED
        x = lazygrad.load(tmp_path / "x.pt", mmap=True)["x"]
    assert (x * 2 + 1).tolist() == [1, 3, 5, 7]
    x += 1
    assert lazygrad.load(tmp_path / "x.pt", mmap=True)["x"].tolist() == [1, 2, 3, 4]
    assert serialization.get_default_mmap_options() == mmap.MAP_PRIVATE
    with pytest.raises(ValueError, match="expected mmap"):
        serialization.set_default_mmap_options(17)


def test_from_file(tmp_path):
    torch = pytorch()
    for package in (lazygrad, torch):
        path = str(tmp_path / package.__name__)
        x = package.from_file(path, shared=True, size=4, dtype=package.int32)
        x += package.arange(4, dtype=package.int32)
        y = package.from_file(path, shared=False, size=3, dtype=package.int32)
        y += 10
        assert y.tolist() == [10, 11, 12] and x.tolist() == [0, 1, 2, 3]
        assert np.fromfile(path, np.int32).tolist() == [0, 1, 2, 3]


def test_pytorch_maps_our_files(tmp_path):
    torch = pytorch()
    lazygrad.save({"x": lazygrad.arange(100.0)}, tmp_path / "x.pt")
    assert torch.equal(torch.load(tmp_path / "x.pt", mmap=True)["x"], torch.arange(100.0))


@pytest.mark.parametrize("new", [True, False])
def test_map_location(new):
    data = saved(lazygrad, [lazygrad.ones(2), lazygrad.nn.Parameter(lazygrad.ones(3))],
                 _use_new_zipfile_serialization=new)
    seen = []

    def keep(storage, location):
        seen.append((type(storage), storage.nbytes(), location))
        return storage

    for where in (None, "cpu", lazygrad.device("cpu"), {"cpu": "cpu"}, keep, lambda s, _: None):
        x, p = loaded(lazygrad, data, map_location=where)
        assert x.device == "cpu" and p.tolist() == [1, 1, 1]
    assert seen == [(UntypedStorage, 8, "cpu"), (UntypedStorage, 12, "cpu")]
    for where in ("numpy", lazygrad.device("numpy"), {"cpu": "numpy"}, lambda s, _: s.to("numpy")):
        x, p = loaded(lazygrad, data, map_location=where)
        assert x.device == p.device == "numpy" and (x + 1).tolist() == [2, 2] and p.is_leaf
    with pytest.raises(DeviceError, match="map_location"):
        loaded(lazygrad, data, map_location="xpu:3")
    with pytest.raises(TypeError, match="map_location"):
        loaded(lazygrad, data, map_location=3)


@pytest.mark.parametrize("to_theirs", [False, True])
def test_files_of_the_older_format_follow_one_another(to_theirs):
    torch = pytorch()
    writer, reader = (lazygrad, torch) if to_theirs else (torch, lazygrad)
    file = io.BytesIO()
    for k in range(3):
        writer.save(writer.full((k + 1,), float(k)), file, _use_new_zipfile_serialization=False)
    file.seek(0)
    assert [reader.load(file).tolist() for _ in range(3)] == [[0.0], [1.0, 1.0], [2.0, 2.0, 2.0]]


@pytest.mark.parametrize("to_theirs", [False, True])
def test_storages_cross_over(to_theirs):
    package = lazygrad if to_theirs else pytorch()
    x = package.arange(6.0)
    typed, y = crossed([x.storage() if to_theirs else x._typed_storage(), x[2:]], to_theirs)
    assert typed.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0] and y.tolist() == [2.0, 3.0, 4.0, 5.0]
    assert typed.data_ptr() == y.data_ptr() - 8


def test_devices_that_compile(compiling_device):
    x = lazygrad.arange(6.0, device=compiling_device).reshape(2, 3)
    data = saved(lazygrad, {"x": x, "row": x[1]})
    assert (b"cuda:0" in data) == (compiling_device == "CL")  # PyTorch's word for it
    got = loaded(lazygrad, data)
    assert got["x"].device == got["row"].device == compiling_device
    got["x"][1] = 7.0
    assert got["row"].tolist() == [7.0, 7.0, 7.0]
    assert loaded(lazygrad, data, map_location="cpu")["x"].device == "cpu"


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.register = nn.Linear(2, 3), {"made": 1}
        self.second = nn.Linear(2, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.first(x) + self.second(x)


def test_whole_modules_need_trust():
    model = Model()
    data = saved(lazygrad, model)
    with pytest.raises(LazygradError, match=r"test_serialization\.Model"):
        loaded(lazygrad, data)
    assert serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data))[0] == "test_serialization.Model"
    for new in (True, False):
        data = saved(lazygrad, model, _use_new_zipfile_serialization=new)
        again = loaded(lazygrad, data, weights_only=False)
        assert again.second.weight is again.first.weight and again.register == {"made": 1}
        x = lazygrad.ones(1, 2)
        assert again(x).tolist() == model(x).tolist()
    assert copy.deepcopy(again).second.weight is not again.first.weight


def test_whole_modules_of_pytorch_become_ours():
    torch = pytorch()
    theirs = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.LayerNorm(3))
    ours = loaded(lazygrad, saved(torch, theirs), weights_only=False)
    assert type(ours) is nn.Sequential and type(ours[2]) is nn.LayerNorm
    np.testing.assert_allclose(values(ours(lazygrad.ones(1, 2))), values(theirs(torch.ones(1, 2))), rtol=1e-5)


def test_modules_of_pytorch_that_are_safe():
    torch = pytorch()
    data = saved(torch, torch.nn.Sequential(torch.nn.Linear(2, 3)))
    with pytest.raises(LazygradError, match="torch.nn.modules"):
        loaded(lazygrad, data)
    with serialization.safe_globals([nn.Sequential, nn.Linear, set]):
        assert type(loaded(lazygrad, data)[0]) is nn.Linear


class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return self.x == other.x

    __hash__ = None


def test_safe_globals():
    data = saved(lazygrad, {"p": Point(3)})
    with pytest.raises(LazygradError, match="Unsupported global: GLOBAL test_serialization.Point"):
        loaded(lazygrad, data)
    with serialization.safe_globals([Point]):
        assert serialization.get_safe_globals() == [Point]
        assert loaded(lazygrad, data) == {"p": Point(3)}
    with pytest.raises(LazygradError):
        loaded(lazygrad, data)
    serialization.add_safe_globals([(Point, "test_serialization.Point")])
    assert loaded(lazygrad, data) == {"p": Point(3)}
    serialization.clear_safe_globals()
    assert serialization.get_safe_globals() == []


def test_what_cannot_be_saved_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "x.pt"
    lazygrad.save(lazygrad.ones(3), path)
    path.chmod(0o640)
    before = path.read_bytes()
    x = lazygrad.ones(4)
    with pytest.raises(DTypeError, match="view the same data as different types"):
        lazygrad.save([x, x.view(lazygrad.int32)], path)
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        lazygrad.save({"f": lambda: 1}, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    lazygrad.save(x, path)
    assert lazygrad.load(path).tolist() == [1, 1, 1, 1] and stat.S_IMODE(path.stat().st_mode) == 0o640


def test_writing_stops_half_way(tmp_path, monkeypatch):
    path = tmp_path / "x.pt"
    lazygrad.save(lazygrad.ones(3), path)

    def pieces(*_):
        yield b"half"
        raise OSError("the disk is full")

    monkeypatch.setattr(serialization, "archive", pieces)
    with pytest.raises(OSError, match="full"):
        lazygrad.save(lazygrad.zeros(3), path)
    assert lazygrad.load(path).tolist() == [1, 1, 1] and list(tmp_path.iterdir()) == [path]


def test_targets_and_sources(tmp_path):
    with pytest.raises((AttributeError, TypeError), match="'write' attribute"):
        lazygrad.save(1, 3)
    with pytest.raises(RuntimeError, match="Parent directory"):
        lazygrad.save(1, tmp_path / "missing" / "x.pt")
    with pytest.raises(FileNotFoundError):
        lazygrad.load(tmp_path / "missing.pt")
    with pytest.raises(TypeError):
        lazygrad.load(3)
    with pytest.raises(EOFError):
        lazygrad.load(io.BytesIO(b""))
    path = pathlib.Path(tmp_path / "x.pt")
    with open(path, "wb") as file:
        lazygrad.save({"x": 1}, file)
    with open(path, "rb") as file:
        assert lazygrad.load(file) == {"x": 1}
    link = tmp_path / "link.pt"
    link.symlink_to(path)
    lazygrad.save(2, link)
    assert link.is_symlink() and lazygrad.load(path) == 2
    offset = io.BytesIO(b"before" + path.read_bytes())
    offset.seek(6)
    assert lazygrad.load(offset) == 2


def test_byte_order_of_files_that_do_not_tell():
    data = saved(lazygrad, lazygrad.tensor([1, 256], dtype=lazygrad.int16), _disable_byteorder_record=True)
    serialization.set_default_load_endianness(serialization.LoadEndianness.BIG)
    try:
        swapped = loaded(lazygrad, data).tolist()
    finally:
        serialization.set_default_load_endianness(None)
    assert swapped == ([256, 1] if sys.byteorder == "little" else [1, 256])
    assert loaded(lazygrad, data).tolist() == ([1, 256] if sys.byteorder == "little" else [256, 1])


def test_sums_can_be_left_out():
    torch = pytorch()
    serialization.set_crc32_options(False)
    try:
        data = saved(lazygrad, lazygrad.ones(3))
    finally:
        serialization.set_crc32_options(True)
    assert torch.load(io.BytesIO(data)).tolist() == loaded(lazygrad, data).tolist() == [1, 1, 1]
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        data = saved(torch, torch.ones(3))
    finally:
        torch.serialization.set_crc32_options(before)
    assert loaded(lazygrad, data).tolist() == [1, 1, 1]


@pytest.mark.parametrize("make", ["torch.ones(2, dtype=torch.complex64)", "torch.eye(2).to_sparse()",
                                  "torch.ones(2).to(torch.float8_e4m3fn)",
                                  "torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)"])
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_lazygrad_lacks_are_named(make):
    torch = pytorch()
    with pytest.raises(LazygradError, match="(?i)complex|sparse|float8|quantized|QInt8"):
        loaded(lazygrad, saved(torch, eval(make, {"torch": torch})))


def test_loaded_parameters_train_and_are_computed_with(device):
    data = saved(lazygrad, lazygrad.nn.Linear(3, 2).state_dict())
    layer = nn.Linear(3, 2).to(device)
    layer.load_state_dict(loaded(lazygrad, data, map_location=device), assign=True)
    optimizer = optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    first = last = None
    for _ in range(3):
        optimizer.zero_grad()
        loss = (layer(lazygrad.ones(2, 3, device=device)) - 7.0).square().mean()
        loss.backward()
        optimizer.step()
        first, last = loss.item() if first is None else first, loss.item()
    assert last < first and layer.weight.device == device


def test_arrays_in_npz(tmp_path):
    state = nn.Linear(3, 2).state_dict()
    np.savez(tmp_path / "x.npz", **state)
    with np.load(tmp_path / "x.npz") as file:
        got = {name: lazygrad.from_numpy(file[name]) for name in file.files}
    assert {name: x.tolist() for name, x in got.items()} == {name: x.tolist() for name, x in state.items()}


def test_file_format_errors_are_what_users_catch():
    assert issubclass(FileFormatError, RuntimeError) and issubclass(FileFormatError, pickle.UnpicklingError)


def test_older_files_of_other_processors() -> None:
    data = saved(lazygrad, lazygrad.tensor([1.0, -2.5]), _use_new_zipfile_serialization=False)
    told = b"little_endian" + data.partition(b"little_endian")[2][:3]
    count, raw = (2).to_bytes(8, "little"), np.array([1.0, -2.5], "<f4").tobytes()
    assert told[-1:] == b"\x88" and data.endswith(count + raw)
    swapped = data.replace(told, told[:-1] + b"\x89").removesuffix(count + raw)
    swapped += count[::-1] + np.array([1.0, -2.5], ">f4").tobytes()
    assert lazygrad.load(io.BytesIO(swapped)).tolist() == [1.0, -2.5]
