"""flex_attention and sdpa_kernel: beside PyTorch's."""

from typing import Any

import numpy as np
import pytest
from module_support import compare
from torch_support import pytorch

import lazygrad
from lazygrad import nn
from lazygrad.nn.attention import SDPBackend, sdpa_kernel
from lazygrad.nn.attention import flex_attention as flex

rng = np.random.default_rng(2)


def causal(b: Any, h: Any, q: Any, kv: Any) -> Any:
    return q >= kv


def near(b: Any, h: Any, q: Any, kv: Any) -> Any:
    return (q - kv <= 2) & (h >= 0)


def relative(score: Any, b: Any, h: Any, q: Any, kv: Any) -> Any:
    return score + (q - kv) * 0.5


def soft(score: Any, b: Any, h: Any, q: Any, kv: Any) -> Any:
    return 5 * (score / 5).tanh()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("score", "masks", "groups"),
    [
        (None, (), 1),
        (relative, (), 1),
        (soft, (causal,), 1),
        (None, (causal, near), 2),
        (relative, (near,), 2),
    ],
)
def test_flex_attention_agrees_with_torch(score: Any, masks: tuple, groups: int, device: str) -> None:
    torch = pytorch()
    import torch.nn.attention.flex_attention as theirs

    shapes = ((2, 2 * groups, 6, 4), (2, 2, 6, 4), (2, 2, 6, 4))
    arrays = [rng.standard_normal(s) for s in shapes]
    results = []
    gradients = []
    for library, api, where in ((lazygrad, flex, {"device": device}), (torch, theirs, {})):
        q, k, v = (library.tensor(x, requires_grad=True, **where) for x in arrays)
        block = (
            api.create_block_mask(
                api.and_masks(*masks), None, None, 6, 6, device=where.get("device", "cpu"), BLOCK_SIZE=2
            )
            if masks
            else None
        )
        plain = (
            [t.detach() for t in (q, k, v)] if library is torch else [q, k, v]
        )  # it has no gradient on CPUs
        out, lse = api.flex_attention(
            *plain, score_mod=score, block_mask=block, enable_gqa=groups > 1, return_lse=True
        )
        results.append([out, lse])
        if library is torch:
            out = plainly(q, k, v, score, masks, groups)
        (out**2).sum().backward()
        gradients.append([q.grad, k.grad, v.grad])
        if block is not None:
            results[-1] += [block.to_dense(), block.kv_num_blocks, block.full_kv_num_blocks]
    compare(*results, "float64")
    compare(*gradients, "float64")


def plainly(q: Any, k: Any, v: Any, score: Any, masks: tuple, groups: int) -> Any:
    """The definition, in PyTorch."""
    torch = pytorch()
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    i, j, h = torch.arange(6)[:, None], torch.arange(6), torch.arange(q.shape[1])[:, None, None]
    scores = scores if score is None else score(scores, 0, h, i, j)
    for mask in masks:
        scores = scores.masked_fill(~mask(0, h, i, j), -np.inf)
    return scores.softmax(-1) @ v


def test_block_masks() -> None:
    mask = flex.create_block_mask(causal, 1, 1, 6, 6, BLOCK_SIZE=2)
    assert mask.shape == (1, 1, 6, 6)
    assert mask.to_dense().tolist() == [[[[1, 0, 0], [1, 1, 0], [1, 1, 1]]]]
    assert mask.sparsity() == pytest.approx(100 / 3)
    assert flex.create_mask(flex.or_masks(causal, near), None, None, 2, 2).all()
    assert flex.create_mask(flex.noop_mask, 2, 3, 4, 5).shape == (2, 3, 4, 5)


def test_rows_that_see_nothing_are_zero() -> None:
    q = lazygrad.ones(1, 1, 2, 3).requires_grad_()
    block = flex.create_block_mask(lambda b, h, i, j: i > j, None, None, 2, 2)
    out, aux = flex.flex_attention(
        q, q, q, block_mask=block, return_aux=flex.AuxRequest(lse=True, max_scores=True)
    )
    out.sum().backward()
    assert out.tolist() == [[[[0.0] * 3, [1.0] * 3]]]
    assert aux.lse[0, 0, 0].item() == -np.inf
    assert not q.grad.isnan().any()


def test_kernels_are_accepted() -> None:
    q = lazygrad.ones(1, 1, 2, 3)
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]):
        assert nn.functional.scaled_dot_product_attention(q, q, q).tolist() == q.tolist()
    with sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION):
        pass
    with pytest.raises(TypeError, match="must be an instance of SDPBackend"), sdpa_kernel("math"):
        pass
    with pytest.raises(ValueError, match="same number of heads"):
        flex.flex_attention(lazygrad.ones(1, 4, 2, 3), q, q)
