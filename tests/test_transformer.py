"""Attention with several heads and the Transformer: beside PyTorch's, and what they refuse."""

from typing import Any

import numpy as np
import pytest
from module_support import compare, compare_modules, same_weights

import lazygrad
from lazygrad import nn

rng = np.random.default_rng(8)


def normal(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape)


def holes(*shape: int) -> np.ndarray:
    """A mask that leaves something in every row."""
    mask = rng.random(shape) < 0.4
    mask[..., 0] = False
    return mask


def negative(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, -np.inf, 0.5)


ATTENTION = [
    ("MultiheadAttention(6, 2)", [(3, 2, 6), (4, 2, 6), (4, 2, 6)], {}),
    ("MultiheadAttention(6, 3, batch_first=True)", [(2, 3, 6), (2, 4, 6), (2, 4, 6)], {}),
    ("MultiheadAttention(6, 2, bias=False)", [(3, 6), (4, 6), (4, 6)], {}),
    ("MultiheadAttention(6, 2, kdim=3, vdim=5)", [(3, 2, 6), (4, 2, 3), (4, 2, 5)], {}),
    (
        "MultiheadAttention(6, 2, add_bias_kv=True, add_zero_attn=True)",
        [(3, 2, 6), (1, 2, 6), (1, 2, 6)],
        {"average_attn_weights": False},
    ),
    (
        "MultiheadAttention(6, 2, add_bias_kv=True)",
        [(3, 2, 6), (4, 2, 6), (4, 2, 6)],
        {"key_padding_mask": holes(2, 4), "attn_mask": holes(3, 4)},
    ),
    (
        "MultiheadAttention(6, 2, add_zero_attn=True)",
        [(3, 2, 6), (4, 2, 6), (4, 2, 6)],
        {"attn_mask": holes(4, 3, 4), "need_weights": False},
    ),
    ("MultiheadAttention(6, 2)", [(3, 2, 6), (4, 2, 6), (4, 2, 6)], {"attn_mask": negative(holes(3, 4))}),
    (
        "MultiheadAttention(6, 2)",
        [(3, 2, 6), (4, 2, 6), (4, 2, 6)],
        {"key_padding_mask": holes(2, 4), "need_weights": False},
    ),
    (
        "MultiheadAttention(6, 2)",
        [(3, 6), (4, 6), (4, 6)],
        {"key_padding_mask": holes(4), "attn_mask": holes(2, 3, 4)},
    ),
    (
        "MultiheadAttention(6, 2)",
        [(3, 2, 6), (3, 2, 6), (3, 2, 6)],
        {"attn_mask": np.triu(np.ones((3, 3), bool), 1), "is_causal": True, "need_weights": False},
    ),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("text", "shapes", "options"), ATTENTION)
def test_attention_agrees_with_torch(text: str, shapes: list, options: dict, dtype: str, device: str) -> None:
    compare_modules(text, [normal(*s) for s in shapes], dtype, device, **options)


def test_self_attention_is_one_product() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.MultiheadAttention(4, 2, batch_first=True).eval()
    ours = same_weights(nn.MultiheadAttention(4, 2, batch_first=True), theirs).eval()
    x = normal(2, 3, 4).astype("f4")
    a, b = lazygrad.tensor(x), torch.tensor(x)
    with torch.no_grad(), lazygrad.no_grad():
        compare(list(ours(a, a, a)), list(theirs(b, b, b)), "float32")


LAYERS = [
    ("TransformerEncoderLayer(4, 2, 6, 0.0)", 1, {}),
    ("TransformerEncoderLayer(4, 2, 6, 0.0, 'gelu', batch_first=True, norm_first=True)", 1, {}),
    (
        "TransformerEncoderLayer(4, 2, 6, 0.0, F.silu, 1e-3, bias=False)",
        1,
        {"src_mask": negative(np.triu(np.ones((3, 3), bool), 1)), "is_causal": True},
    ),
    ("TransformerEncoderLayer(4, 2, 6, 0.0, nn.ReLU())", 1, {"src_key_padding_mask": holes(2, 3)}),
    ("TransformerDecoderLayer(4, 2, 6, 0.0)", 2, {"tgt_mask": holes(3, 3), "memory_mask": holes(3, 3)}),
    (
        "TransformerDecoderLayer(4, 2, 6, 0.0, norm_first=True)",
        2,
        {"tgt_key_padding_mask": holes(2, 3), "memory_key_padding_mask": holes(2, 3)},
    ),
    (
        "TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, 0.0), 2, nn.LayerNorm(4), False)",
        1,
        {"mask": holes(3, 3), "src_key_padding_mask": holes(2, 3)},
    ),
    ("TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 6, 0.0), 2)", 2, {"tgt_is_causal": False}),
    (
        "Transformer(4, 2, 1, 2, 6, 0.0, nn.GELU(), norm_first=True)",
        2,
        {"tgt_mask": negative(np.triu(np.ones((3, 3), bool), 1)), "tgt_is_causal": True},
    ),
]


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize(("text", "inputs", "options"), LAYERS)
def test_layers_agree_with_torch(text: str, inputs: int, options: dict, device: str) -> None:
    shape = (2, 3, 4) if "batch_first" in text else (3, 2, 4)
    compare_modules(text, [normal(*shape) for _ in range(inputs)], "float64", device, **options)


def test_encoders_leave_padding_out_of_evaluation() -> None:
    torch = pytest.importorskip("torch")
    for text in ("batch_first=True", "batch_first=True, norm_first=True"):
        make = (
            f"nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, {text}), 2, enable_nested_tensor=on)"
        )
        on = "norm_first" not in text
        theirs = eval(make, {"nn": torch.nn, "on": on}).eval()
        ours = same_weights(eval(make, {"nn": nn, "on": on}), theirs).eval()
        x = normal(2, 5, 4).astype("f4")
        for mask in ([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]], [[0, 1, 0, 1, 1], [0, 0, 0, 0, 0]]):
            with torch.no_grad(), lazygrad.no_grad():
                compare(
                    [ours(lazygrad.tensor(x), src_key_padding_mask=lazygrad.tensor(mask) > 0)],
                    [theirs(torch.tensor(x), src_key_padding_mask=torch.tensor(mask) > 0)],
                    "float32",
                )


def test_causal_masks() -> None:
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    assert mask.tolist() == [[0.0, -np.inf, -np.inf], [0.0, 0.0, -np.inf], [0.0, 0.0, 0.0]]
    assert nn.Transformer.generate_square_subsequent_mask(0, dtype=lazygrad.float64).shape == (0, 0)


def test_clones_do_not_share() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6), 2, enable_nested_tensor=False)
    first, second = (layer.linear1.weight for layer in encoder.layers)
    assert first is not second
    assert first.tolist() == second.tolist()
    with pytest.warns(UserWarning, match="batch_first was not True"):
        nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6), 1)


def run(*shapes: tuple, **options: Any) -> Any:
    return nn.MultiheadAttention(4, 2)(*(lazygrad.ones(*s) for s in shapes), **options)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.MultiheadAttention(0, 2), ValueError, "must be greater than 0"),
        (lambda: nn.MultiheadAttention(5, 2), AssertionError, "divisible by num_heads"),
        (lambda: run((1,), (1,), (1,)), AssertionError, "unbatched 2D or batched 3D"),
        (lambda: run((2, 1, 4), (2, 4), (2, 4)), AssertionError, "`key` and `value` to be 3-D"),
        (lambda: run((2, 1, 4), (2, 1, 4), (3, 1, 4)), AssertionError, "does not match value shape"),
        (lambda: run((2, 1, 5), (2, 1, 4), (2, 1, 4)), AssertionError, "embedding dimension of 4, but got 5"),
        (lambda: run(*[(2, 1, 4)] * 3, is_causal=True), RuntimeError, "Need attn_mask"),
        (lambda: run(*[(2, 1, 4)] * 3, attn_mask=lazygrad.ones(3, 2)), RuntimeError, "but should be"),
        (
            lambda: run(*[(2, 1, 4)] * 3, attn_mask=lazygrad.ones(2, 2).long()),
            AssertionError,
            "only bool and float",
        ),
        (
            lambda: run(*[(2, 1, 4)] * 3, key_padding_mask=lazygrad.ones(2, 2)),
            AssertionError,
            "key_padded_mask",
        ),
        (
            lambda: nn.TransformerEncoderLayer(4, 2, activation="tanh"),
            RuntimeError,
            "should be relu/gelu, not tanh",
        ),
        (
            lambda: nn.Transformer(4, 2, 1, 1, 4)(lazygrad.ones(2, 1, 4), lazygrad.ones(2, 2, 4)),
            RuntimeError,
            "batch number of src and tgt",
        ),
    ],
)
def test_what_is_refused(call: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert isinstance(caught.value, lazygrad.LazygradError)


def test_attention_drops_in_training() -> None:
    layer = nn.MultiheadAttention(4, 2, dropout=0.5)
    x = lazygrad.ones(6, 1, 4)
    weights = layer(x, x, x, average_attn_weights=False)[1].detach().numpy()
    assert (weights == 0).any()
    layer.eval()
    np.testing.assert_allclose(layer(x, x, x)[1].detach().numpy(), np.full((1, 6, 6), 1 / 6), rtol=1e-5)
