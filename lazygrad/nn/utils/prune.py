"""Pruning: parameters with some elements held at 0, under the names of torch.nn.utils.prune. A pruned
parameter `name` becomes the parameter `name_orig` and the buffer `name_mask`; their product is made anew
before each forward."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError, ArgumentTypeError
from lazygrad.nn.module import Module
from lazygrad.nn.parameter import Parameter
from lazygrad.tensors import Tensor


def _count(amount: float, size: int) -> int:
    """How many of `size` an amount is: a share from 0 to 1, or a count. Raises ArgumentError."""
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        raise ArgumentTypeError(f"[prune] Invalid type for amount: {amount}. Must be int or float.")
    if amount < 0 or (isinstance(amount, float) and amount > 1):
        raise ArgumentError(f"[prune] amount={amount} should either be a float in the range [0, 1] or a "
                            "non-negative integer")
    if isinstance(amount, int) and amount > size:
        raise ArgumentError(f"[prune] amount={amount} should be smaller than the number of parameters to "
                            f"prune={size}")
    return amount if isinstance(amount, int) else round(amount * size)


class _Pruned:
    """The hook of a pruned parameter."""

    def __init__(self, name: str) -> None:
        self._tensor_name = name

    def made(self, module: Module) -> Tensor:
        """The parameter with its mask."""
        original = getattr(module, self._tensor_name + "_orig")
        return getattr(module, self._tensor_name + "_mask").to(original.dtype) * original

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.made(module))


def _hooks(module: Module) -> list[tuple[Any, _Pruned]]:
    return [(key, hook) for key, hook in module._forward_pre_hooks.items() if isinstance(hook, _Pruned)]


def _find(module: Module, name: str) -> Any:
    return next((key for key, hook in _hooks(module) if hook._tensor_name == name), None)


def _mask_of(module: Module, name: str) -> Tensor:
    """The mask that a parameter has, or ones."""
    if _find(module, name) is not None:
        return getattr(module, name + "_mask")
    return lazygrad.ones_like(getattr(module, name).detach())


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Elements of the parameter where `mask`, of its shape, is 0 are held at 0, beside those that are."""
    given = getattr(module, name)
    if mask.shape != given.shape:
        raise ArgumentError(f"[prune] mask of shape {tuple(mask.shape)} for the parameter {name} of shape "
                            f"{tuple(given.shape)}")
    mask = _mask_of(module, name) * mask.to(device=given.device, dtype=given.dtype)
    if _find(module, name) is None:
        original = module._parameters.pop(name)
        assert original is not None
        module.register_parameter(name + "_orig", original)
        module.register_buffer(name + "_mask", mask.detach())
        module.register_forward_pre_hook(_Pruned(name))
    else:
        setattr(module, name + "_mask", mask.detach())
    setattr(module, name, _Pruned(name).made(module))
    return module


def identity(module: Module, name: str) -> Module:
    """A mask of ones: nothing is pruned yet."""
    return custom_from_mask(module, name, lazygrad.ones_like(getattr(module, name).detach()))


def _without(scores: Tensor, alive: Tensor, amount: float) -> Tensor:
    """The mask of all but the elements of least score among those that are alive."""
    places = alive.flatten().nonzero().flatten()
    count = _count(amount, places.shape[0])
    mask = lazygrad.ones_like(scores.detach()).flatten()
    if count:
        least = scores.detach().flatten()[places].topk(count, largest=False).indices
        mask[places[least]] = 0
    return mask.reshape(scores.shape)


def l1_unstructured(module: Module, name: str, amount: float, importance_scores: Tensor | None = None
                    ) -> Module:
    """The elements of least size, or of least score, become 0: `amount` of them, a share or a count."""
    scores = getattr(module, name) if importance_scores is None else importance_scores
    return custom_from_mask(module, name, _without(scores.abs(), _mask_of(module, name), amount))


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """Elements chosen at random become 0."""
    scores = lazygrad.rand_like(getattr(module, name).detach())
    return custom_from_mask(module, name, _without(scores, _mask_of(module, name), amount))


def _channels(module: Module, name: str, scores: Tensor, amount: float, dim: int) -> Module:
    """Whole slices along a dimension, those of least score among the ones that are alive, become 0."""
    mask = _mask_of(module, name)
    dim %= mask.ndim
    others = [d for d in range(mask.ndim) if d != dim]
    kept = _without(scores, mask.sum(others) != 0, amount)
    shape = [1] * mask.ndim
    shape[dim] = -1
    return custom_from_mask(module, name, kept.reshape(shape).expand(mask.shape))


def ln_structured(module: Module, name: str, amount: float, n: Any, dim: int,
                  importance_scores: Tensor | None = None) -> Module:
    """The slices along `dim` of least norm of order n become 0."""
    scores = getattr(module, name) if importance_scores is None else importance_scores
    others = [d for d in range(scores.ndim) if d != dim % scores.ndim]
    return _channels(module, name, lazygrad.norm(scores.detach(), p=n, dim=others), amount, dim)


def random_structured(module: Module, name: str, amount: float, dim: int) -> Module:
    """Slices along `dim` chosen at random become 0."""
    given = getattr(module, name).detach()
    return _channels(module, name, lazygrad.rand(given.shape[dim], dtype=given.dtype), amount, dim)


class BasePruningMethod:
    """A way of pruning; `apply(module, name, ...)` prunes a parameter so."""


class Identity(BasePruningMethod):
    """Nothing is pruned yet."""

    apply = staticmethod(identity)


class CustomFromMask(BasePruningMethod):
    """By a mask."""

    apply = staticmethod(custom_from_mask)


class L1Unstructured(BasePruningMethod):
    """The elements of least size."""

    apply = staticmethod(l1_unstructured)


class RandomUnstructured(BasePruningMethod):
    """Elements by chance."""

    apply = staticmethod(random_unstructured)


class LnStructured(BasePruningMethod):
    """The slices of least norm."""

    apply = staticmethod(ln_structured)


class RandomStructured(BasePruningMethod):
    """Slices by chance."""

    apply = staticmethod(random_structured)


def global_unstructured(parameters: Iterable[tuple[Module, str]], pruning_method: Any,
                        importance_scores: dict[tuple[Module, str], Tensor] | None = None, *,
                        amount: float) -> None:
    """`amount` of all elements of several parameters, given as pairs (module, name), become 0."""
    if pruning_method not in (L1Unstructured, RandomUnstructured):
        raise ArgumentTypeError("[prune] pruning_method must be L1Unstructured or RandomUnstructured, not "
                                f"{pruning_method!r}")
    pairs, scores = list(parameters), importance_scores or {}
    values = [scores.get((m, name), getattr(m, name)).detach() for m, name in pairs]
    joined = lazygrad.cat([v.flatten() for v in values])
    alive = lazygrad.cat([_mask_of(m, name).flatten() for m, name in pairs])
    ranks = joined.abs() if pruning_method is L1Unstructured else lazygrad.rand_like(joined)
    parts = _without(ranks, alive, amount).split([v.numel() for v in values])
    for (module, name), part, value in zip(pairs, parts, values, strict=True):
        custom_from_mask(module, name, part.reshape(value.shape))


def remove(module: Module, name: str) -> Module:
    """The pruned values become the parameter, and masks end. Raises ArgumentError where nothing is pruned."""
    key = _find(module, name)
    if key is None:
        raise ArgumentError(f"[prune] Parameter '{name}' of module {module} has to be pruned before "
                            "pruning can be removed")
    value = _Pruned(name).made(module).detach()
    original = module._parameters.pop(name + "_orig")
    assert isinstance(original, Parameter)
    del module._forward_pre_hooks[key], module._buffers[name + "_mask"]
    delattr(module, name)
    original.data = value
    module.register_parameter(name, original)
    return module


def is_pruned(module: Module) -> bool:
    """Whether a parameter of this module, or of one inside, is pruned."""
    return any(_hooks(m) for m in module.modules())
