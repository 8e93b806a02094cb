"""Recurrent layers and cells, and packed sequences: beside PyTorch's, and what they refuse."""

import warnings
from typing import Any

import numpy as np
import pytest
from module_support import compare, compare_modules, same_weights, tensors_in

import lazygrad
from lazygrad import nn
from lazygrad.nn.utils import rnn

rng = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape)


LAYERS = [
    ("RNN(3, 4)", (5, 2, 3)),
    ("RNN(3, 4, 2, 'relu')", (4, 2, 3)),
    ("RNN(3, 4, nonlinearity='relu', bias=False, bidirectional=True)", (3, 1, 3)),
    ("LSTM(3, 4)", (5, 2, 3)),
    ("LSTM(3, 5, 2, bidirectional=True)", (4, 3, 3)),
    ("LSTM(3, 4, batch_first=True, bias=False)", (2, 5, 3)),
    ("LSTM(3, 4, 2, proj_size=2, bidirectional=True)", (3, 2, 3)),
    ("LSTM(3, 4)", (6, 3)),
    ("LSTM(1, 1)", (1, 1, 1)),
    ("LSTM(3, 4)", (2, 0, 3)),
    ("GRU(3, 4)", (5, 2, 3)),
    ("GRU(3, 4, 2, batch_first=True, bidirectional=True)", (2, 4, 3)),
    ("GRU(3, 4, bias=False)", (1, 3)),
    ("LSTM(2, 3, bidirectional=True)", (18, 1, 2)),
    ("GRU(2, 3)", (20, 2, 2)),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("text", "shape"), LAYERS)
def test_layers_agree_with_torch(text: str, shape: tuple, dtype: str, device: str) -> None:
    compare_modules(text, [normal(*shape)], dtype, device)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("RNNCell(3, 4)", (2, 3)),
        ("RNNCell(3, 4, False, 'relu')", (3,)),
        ("LSTMCell(3, 4)", (2, 3)),
        ("LSTMCell(3, 4, bias=False)", (3,)),
        ("GRUCell(3, 4)", (1, 3)),
        ("GRUCell(3, 4)", (3,)),
    ],
)
def test_cells_agree_with_torch(text: str, shape: tuple, device: str) -> None:
    hidden = (*shape[:-1], 4)
    compare_modules(text, [normal(*shape)], "float32", device)
    state = (normal(*hidden), normal(*hidden)) if "LSTM" in text else normal(*hidden)
    compare_modules(text, [normal(*shape), state], "float64", device)


@pytest.mark.parametrize(
    "text",
    [
        "LSTM(3, 4, 2, bidirectional=True)",
        "GRU(3, 4)",
        "RNN(3, 4, batch_first=True)",
        "LSTM(3, 4, proj_size=2)",
    ],
)
@pytest.mark.parametrize("batched", [True, False])
def test_initial_states_agree_with_torch(text: str, batched: bool) -> None:
    module = eval(f"nn.{text}", {"nn": nn})
    count = module.num_layers * (2 if module.bidirectional else 1)
    sizes = [module.proj_size or 4, 4][: 2 if "LSTM" in text else 1]
    states = [normal(count, *((2,) if batched else ()), size) for size in sizes]
    x = normal(2, 2, 3) if batched else normal(3, 3)
    compare_modules(text, [x, tuple(states) if len(states) > 1 else states[0]], "float64", "NUMPY")


def check_packed(text: str, lengths: list, enforce_sorted: bool, device: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = eval(f"nn.{text}", {"nn": torch.nn}).double()
    ours = same_weights(eval(f"nn.{text}", {"nn": nn}).double(), theirs).to(device)
    x = normal(4, len(lengths), 3)
    a = lazygrad.tensor(x, device=device, requires_grad=True)
    b = torch.tensor(x, requires_grad=True)
    options = {"enforce_sorted": enforce_sorted}
    packed = rnn.pack_padded_sequence(a, lengths, **options)
    other = torch.nn.utils.rnn.pack_padded_sequence(b, lengths, **options)
    assert packed.batch_sizes.tolist() == other.batch_sizes.tolist()
    (mine, last), (yours, end) = ours(packed), theirs(other)
    assert isinstance(mine, rnn.PackedSequence)
    pairs = [(mine.data, yours.data)]
    pairs += zip(last, end, strict=True) if isinstance(end, tuple) else [(last, end)]
    padded, sizes = rnn.pad_packed_sequence(mine, batch_first=True, padding_value=-1.0, total_length=6)
    expected, theirs_sizes = torch.nn.utils.rnn.pad_packed_sequence(
        yours, batch_first=True, padding_value=-1.0, total_length=6
    )
    assert sizes.tolist() == theirs_sizes.tolist() == lengths
    pairs.append((padded, expected))
    ((padded**2).sum() + sum((t**3).sum() for t in tensors_in(last))).backward()
    ((expected**2).sum() + sum((t**3).sum() for t in tensors_in(end))).backward()
    pairs.append((a.grad, b.grad))
    pairs += [(p.grad, q.grad) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True)]
    compare([left for left, _ in pairs], [right for _, right in pairs], "float64")


@pytest.mark.parametrize(
    "text",
    [
        "RNN(3, 4)",
        "LSTM(3, 4, 2, bidirectional=True)",
        "GRU(3, 4, 2, bidirectional=True)",
        "LSTM(3, 4, proj_size=2, bidirectional=True)",
    ],
)
@pytest.mark.parametrize(
    ("lengths", "enforce_sorted"), [([4, 2, 1], True), ([1, 4, 2], False), ([3, 3], True), ([1], True)]
)
def test_packed_sequences_agree_with_torch(text: str, lengths: list, enforce_sorted: bool) -> None:
    check_packed(text, lengths, enforce_sorted, "NUMPY")


def test_packed_sequences_on_devices(device: str) -> None:
    check_packed("GRU(3, 4)", [1, 3], False, device)


def test_packed_states_follow_their_sequences() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.GRU(2, 3)
    ours = same_weights(nn.GRU(2, 3), theirs)
    x, h, lengths = normal(4, 3, 2).astype("f4"), normal(1, 3, 3).astype("f4"), [2, 4, 1]
    one = ours(
        rnn.pack_padded_sequence(lazygrad.tensor(x), lengths, enforce_sorted=False), lazygrad.tensor(h)
    )
    other = theirs(
        torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(x), lengths, enforce_sorted=False),
        torch.tensor(h),
    )
    compare([one[0].data, one[1]], [other[0].data, other[1]], "float32")


# Sequences


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_sequences(batch_first: bool, side: str) -> None:
    torch = pytest.importorskip("torch")
    parts = [normal(n, 2) for n in (3, 1, 4)]
    ours = rnn.pad_sequence([lazygrad.tensor(p) for p in parts], batch_first, -2.0, side)
    theirs = torch.nn.utils.rnn.pad_sequence([torch.tensor(p) for p in parts], batch_first, -2.0, side)
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    if side == "right":
        back = rnn.unpad_sequence(ours, lazygrad.tensor([3, 1, 4]), batch_first)
        for part, found in zip(parts, back, strict=True):
            np.testing.assert_array_equal(found.numpy(), part)


def test_packing_and_unpacking_sequences() -> None:
    parts = [lazygrad.tensor(normal(n)) for n in (2, 4, 1, 4)]
    packed = rnn.pack_sequence(parts, enforce_sorted=False)
    assert packed.batch_sizes.tolist() == [4, 3, 2, 2]
    assert packed.sorted_indices.tolist() == [1, 3, 0, 2]
    assert packed.unsorted_indices.tolist() == [2, 0, 3, 1]
    for part, found in zip(parts, rnn.unpack_sequence(packed), strict=True):
        assert part.tolist() == found.tolist()
    half = packed.half()
    assert half.data.dtype == lazygrad.float16
    assert half.sorted_indices.dtype == lazygrad.int64
    assert packed.to(lazygrad.float64) is packed
    assert rnn.invert_permutation(lazygrad.tensor([2, 0, 1])).tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: rnn.pack_padded_sequence(lazygrad.ones(3, 2, 1), [1, 3]), RuntimeError, "decreasing order"),
        (lambda: rnn.pack_padded_sequence(lazygrad.ones(3, 2, 1), [3, 0]), RuntimeError, "greater than 0"),
        (lambda: rnn.pack_padded_sequence(lazygrad.ones(3, 2, 1), [3]), RuntimeError, "equal to batch_size"),
        (
            lambda: rnn.pack_padded_sequence(lazygrad.ones(3, 1, 1), [5]),
            RuntimeError,
            "more than the 3 steps",
        ),
        (
            lambda: rnn.pad_packed_sequence(rnn.pack_sequence([lazygrad.ones(3)]), total_length=2),
            ValueError,
            "total_length to be at least",
        ),
        (lambda: rnn.pad_sequence(3), RuntimeError, "Expected iterable"),
        (
            lambda: rnn.pad_sequence([lazygrad.ones(2)], padding_side="up"),
            RuntimeError,
            "one of left or right",
        ),
        (lambda: nn.LSTM(2, 3, proj_size=3), ValueError, "smaller than hidden_size"),
        (lambda: nn.GRU(2, 3, proj_size=1), ValueError, "only supported for LSTM"),
        (lambda: nn.RNN(2, 3, nonlinearity="exp"), ValueError, "Unknown nonlinearity 'exp'"),
        (lambda: nn.LSTM(0, 3), ValueError, "input_size must be greater than zero"),
        (lambda: nn.LSTM(2, 3, dropout=2), ValueError, "dropout should be a number"),
        (lambda: nn.LSTM(2, 3, 1, 4), TypeError, "bias should be of type bool"),
        (lambda: nn.LSTM(2, 3)(lazygrad.ones(2, 2, 3)), RuntimeError, "Expected 2, got 3"),
        (lambda: nn.LSTM(2, 3)(lazygrad.ones(2)), ValueError, "Expected input to be 2D or 3D"),
        (
            lambda: nn.GRU(2, 3)(lazygrad.ones(2, 1, 2), lazygrad.ones(1, 2, 3)),
            RuntimeError,
            "Expected hidden size",
        ),
        (
            lambda: nn.GRU(2, 3)(lazygrad.ones(2, 1, 2), lazygrad.ones(1, 3)),
            RuntimeError,
            "should also be 3-D",
        ),
        (lambda: nn.GRU(2, 3)(lazygrad.ones(0, 1, 2)), RuntimeError, "larger than 0"),
        (lambda: nn.GRU(2, 3)(lazygrad.ones(1, 1, 2).double()), ValueError, "does not match weight dtype"),
        (lambda: nn.GRUCell(2, 3)(lazygrad.ones(1, 3)), RuntimeError, "inconsistent input_size"),
        (
            lambda: nn.RNNCell(2, 3, nonlinearity="exp")(lazygrad.ones(1, 2)),
            RuntimeError,
            "Unknown nonlinearity",
        ),
    ],
)
def test_what_is_refused(call: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert isinstance(caught.value, lazygrad.LazygradError)


def test_dropout_between_layers() -> None:
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        nn.LSTM(2, 3, dropout=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer = nn.LSTM(2, 8, 2, dropout=0.5)
    x = lazygrad.ones(3, 4, 2)
    assert not np.array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())
    layer.eval()
    assert np.array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())


def test_initial_values_and_replaced_weights() -> None:
    layer = nn.GRU(3, 16, 2)
    assert all(w.abs().max().item() <= 0.25 for w in layer.parameters())
    assert [len(w) for w in layer.all_weights] == [4, 4]
    layer.weight_hh_l0 = nn.Parameter(lazygrad.zeros(48, 16))
    layer.flatten_parameters()
    assert layer.all_weights[0][1] is layer.weight_hh_l0


def test_long_sequences_under_jit() -> None:
    """A recorded step of training goes on as an unrecorded one."""
    torch = pytest.importorskip("torch")
    x = normal(20, 2, 3).astype("f4")
    theirs = torch.nn.LSTM(3, 4)
    ours = same_weights(nn.LSTM(3, 4), theirs).to("NUMPY")
    optimizers = [lazygrad.optim.SGD(ours.parameters(), 0.1), torch.optim.SGD(theirs.parameters(), 0.1)]

    @lazygrad.jit
    def step(a: Any) -> Any:
        loss = (ours(a)[0] ** 2).sum()
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()
        return loss

    for k in range(4):
        a, b = lazygrad.tensor(x + k, device="NUMPY"), torch.tensor(x + k)
        loss = (theirs(b)[0] ** 2).sum()
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
        np.testing.assert_allclose(step(a).item(), loss.item(), rtol=1e-4)


def test_second_derivatives_of_long_sequences() -> None:
    torch = pytest.importorskip("torch")
    x = normal(18, 1, 2)
    results = []
    theirs = torch.nn.GRU(2, 3).double()
    for library, where in ((lazygrad, {"device": "NUMPY"}), (torch, {})):
        module = same_weights(nn.GRU(2, 3).double(), theirs).to("NUMPY") if library is lazygrad else theirs
        a = library.tensor(x, requires_grad=True, **where)
        (first,) = library.autograd.grad((module(a)[0] ** 3).sum(), [a], create_graph=True)
        (first**2).sum().backward()
        results.append([first, a.grad, *(p.grad for p in module.parameters())])
    compare(*results, "float64")


def test_long_sequences_without_gradients_under_jit() -> None:
    layer = nn.GRU(3, 4, bidirectional=True)

    @lazygrad.jit
    def run(x: Any) -> Any:
        with lazygrad.no_grad():
            return layer(x)[0]

    for k in range(4):
        x = lazygrad.tensor(normal(37, 2, 3) + k, dtype=lazygrad.float32)
        np.testing.assert_allclose(run(x).numpy(), layer(x)[0].detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("half", [False, True])
def test_types_under_autocast(name: str, half: bool) -> None:
    torch = pytest.importorskip("torch")
    x = normal(3, 2, 3).astype("f4")
    theirs = getattr(torch.nn, name)(3, 4)
    ours = same_weights(getattr(nn, name)(3, 4), theirs).to("NUMPY")
    results = []
    for library, module, where in ((lazygrad, ours, {"device": "NUMPY"}), (torch, theirs, {})):
        a = library.tensor(x, **where)
        with library.autocast("cpu", dtype=library.bfloat16):
            results.append(module(a.bfloat16() if half else a)[0])
    assert str(results[0].dtype).rpartition(".")[2] == str(results[1].dtype).rpartition(".")[2]
    np.testing.assert_allclose(
        results[0].detach().float().numpy(), results[1].detach().float().numpy(), atol=0.03
    )
