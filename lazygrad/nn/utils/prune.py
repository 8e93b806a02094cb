"""Pruning: parameters with some elements held at 0, under the names of torch.nn.utils.prune. A pruned
parameter `name` becomes the parameter `name_orig` and the buffer `name_mask`; their product is made anew
before each forward, by the method of pruning, which is the hook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError, ArgumentTypeError, AxisError
from lazygrad.nn.module import Module
from lazygrad.nn.utils.convert_parameters import parameters_to_vector
from lazygrad.tensors import Tensor
from lazygrad.tensors.signatures import check_all

KINDS = ("unstructured", "structured", "global")


def _check_amount(amount: Any) -> None:
    if not isinstance(amount, Real):
        raise ArgumentTypeError(f"[prune] Invalid type for amount: {amount}. Must be int or float.")
    if float(amount) < 0 or (not isinstance(amount, Integral) and float(amount) > 1):
        raise ArgumentError(f"[prune] amount={amount} should either be a float in the range [0, 1] or a "
                            "non-negative integer")


def _count(amount: Any, size: int) -> int:
    """How many of `size` an amount is: a share from 0 to 1, or a count. Raises ArgumentError."""
    if not isinstance(amount, Integral):
        return round(float(amount) * size)
    if int(amount) > size:
        raise ArgumentError(f"[prune] amount={amount} should be smaller than the number of parameters to "
                            f"prune={size}")
    return int(amount)


def _methods(module: Module, name: str | None = None) -> list[tuple[Any, BasePruningMethod]]:
    """The hooks that prune a parameter, or any, with their keys."""
    hooks = module._forward_pre_hooks.items()
    return [(key, hook) for key, hook in hooks
            if isinstance(hook, BasePruningMethod) and name in (None, hook._tensor_name)]


class BasePruningMethod(ABC):
    """A way of pruning: subclasses say in `compute_mask` which elements become 0, and in PRUNING_TYPE what
    they choose among: "unstructured" (elements that are not 0 yet), "structured" (slices along `self.dim`
    that are not 0 yet) or "global" (all)."""

    PRUNING_TYPE: str
    _tensor_name: str

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """A mask of t's shape, 0 where elements become 0, given the one of before."""

    def apply_mask(self, module: Module) -> Tensor:
        """The parameter with its mask."""
        original = getattr(module, self._tensor_name + "_orig")
        return getattr(module, self._tensor_name + "_mask").to(dtype=original.dtype) * original

    @classmethod
    def apply(cls, module: Module, name: str, *args: Any, importance_scores: Tensor | None = None,
              **kwargs: Any) -> BasePruningMethod:
        """Prune a parameter so, beside how it was pruned before; elements are ranked by `importance_scores`,
        of its shape, or by their values. Raises ArgumentError for scores of another shape."""
        before = _methods(module, name)
        added = cls(*args, **kwargs)
        added._tensor_name = name
        method: BasePruningMethod = added
        for key, old in before:
            method = old if isinstance(old, PruningContainer) else PruningContainer(old)
            method.add_pruning_method(added)
            del module._forward_pre_hooks[key]
        given = getattr(module, name)
        if importance_scores is not None and importance_scores.shape != given.shape:
            raise ArgumentError(f"[prune] importance_scores should have the same shape as parameter {name} "
                                f"of {module}, got {importance_scores.shape} vs {given.shape}")
        scores = given if importance_scores is None else importance_scores
        if before:
            mask = getattr(module, name + "_mask").detach().clone()
        else:
            mask = lazygrad.ones_like(given.detach())
        # before anything changes, so that a mistake leaves the module as it was
        mask = method.compute_mask(scores.detach(), default_mask=mask)
        if not before:
            original = module._parameters.pop(name)
            module.register_parameter(name + "_orig", original)
        module.register_buffer(name + "_mask", mask.detach())
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Tensor, default_mask: Tensor | None = None,
              importance_scores: Tensor | None = None) -> Tensor:
        """A tensor with some elements 0, of no module. Raises ArgumentError for scores of another shape."""
        if importance_scores is not None and importance_scores.shape != t.shape:
            raise ArgumentError("[prune] importance_scores should have the same shape as tensor t, got "
                                f"{importance_scores.shape} vs {t.shape}")
        scores = t if importance_scores is None else importance_scores
        mask = lazygrad.ones_like(t.detach()) if default_mask is None else default_mask
        return t * self.compute_mask(scores, default_mask=mask)

    def remove(self, module: Module) -> None:
        """The pruned values become the parameter, and masks end."""
        name = self._tensor_name
        value = self.apply_mask(module).detach()
        if hasattr(module, name):
            delattr(module, name)
        original = module._parameters.pop(name + "_orig")
        assert original is not None
        original.data = value
        del module._buffers[name + "_mask"]
        setattr(module, name, original)


class PruningContainer(BasePruningMethod):
    """Methods that prune one parameter one after the other."""

    def __init__(self, *args: BasePruningMethod):
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        if len(args) == 1:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod | None) -> None:
        """One more. Raises ArgumentTypeError for what is none, ArgumentError for one of another parameter."""
        if method is not None and not isinstance(method, BasePruningMethod):
            raise ArgumentTypeError(f"[prune] {type(method)} is not a BasePruningMethod subclass")
        if method is not None and self._tensor_name != method._tensor_name:
            raise ArgumentError(f"[prune] Can only add pruning methods acting on the parameter named "
                                f"'{self._tensor_name}' to PruningContainer {self}. Found "
                                f"'{method._tensor_name}'")
        self._pruning_methods += () if method is None else (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, index: Any) -> Any:
        return self._pruning_methods[index]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask of before, where the last method has chosen among what it may choose from. Raises
        ArgumentError for a method of another kind than there are."""
        method, mask = self._pruning_methods[-1], default_mask.to(dtype=t.dtype)
        if method.PRUNING_TYPE not in KINDS:
            raise ArgumentError(f"[prune] Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}: expected one of "
                                f"{', '.join(KINDS)}")
        chosen: Any = ...
        if method.PRUNING_TYPE == "unstructured":
            chosen = default_mask == 1
        elif method.PRUNING_TYPE == "structured":
            dim = method.dim  # type: ignore[attr-defined]
            if not -t.ndim <= dim < t.ndim:
                raise AxisError(f"[prune] Index is out of bounds for tensor with dimensions {t.ndim}: {dim}")
            dim %= t.ndim
            alive = default_mask.sum([d for d in range(t.ndim) if d != dim]) != 0
            chosen = (*(slice(None),) * dim, alive)
        part = method.compute_mask(t[chosen], default_mask=default_mask[chosen])
        mask = mask.clone()
        mask[chosen] = part.to(dtype=mask.dtype)
        return mask


class Identity(BasePruningMethod):
    """Nothing is pruned yet."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask of before."""
        return default_mask

    @classmethod
    def apply(cls, module: Module, name: str) -> Any:  # type: ignore[override]
        """Prune a parameter so."""
        return super().apply(module, name)


class _Unstructured(BasePruningMethod):
    PRUNING_TYPE = "unstructured"

    def __init__(self, amount: float):
        _check_amount(amount)
        self.amount = amount

    def _without(self, t: Tensor, default_mask: Tensor, ranks: Tensor, largest: bool) -> Tensor:
        """The mask of before without the elements of greatest or least rank."""
        count = _count(self.amount, t.numel())
        mask = default_mask.clone().reshape(-1)
        if count:
            mask[ranks.reshape(-1).topk(count, largest=largest).indices] = 0
        return mask.reshape(default_mask.shape)


class RandomUnstructured(_Unstructured):
    """Elements by chance."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """`amount` of the elements become 0."""
        return self._without(t, default_mask, lazygrad.rand_like(t), True)

    @classmethod
    def apply(cls, module: Module, name: str, amount: float) -> Any:  # type: ignore[override]
        """Prune a parameter so."""
        return super().apply(module, name, amount=amount)


class L1Unstructured(_Unstructured):
    """The elements of least size."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """`amount` of the elements become 0."""
        return self._without(t, default_mask, t.abs(), False)

    @classmethod
    def apply(cls, module: Module, name: str, amount: float,  # type: ignore[override]
              importance_scores: Tensor | None = None) -> Any:
        """Prune a parameter so."""
        return super().apply(module, name, amount=amount, importance_scores=importance_scores)


class _Structured(BasePruningMethod):
    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, dim: int = -1):
        _check_amount(amount)
        self.amount, self.dim = amount, dim

    def _ranks(self, t: Tensor) -> Tensor:
        """A number for each slice: those of the least become 0."""
        raise AssertionError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """`amount` of the slices along `dim` become 0. Raises ArgumentError for a tensor of one dimension,
        AxisError for a dimension that it has not."""
        if t.ndim <= 1:
            raise ArgumentError("[prune] Structured pruning can only be applied to multidimensional tensors. "
                                f"Found tensor of shape {t.shape} with {t.ndim} dims")
        if self.dim >= t.ndim:
            raise AxisError(f"[prune] Invalid index {self.dim} for tensor of size {t.shape}")
        count = _count(self.amount, t.shape[self.dim])
        if not count:
            return default_mask
        kept = lazygrad.ones(t.shape[self.dim], dtype=t.dtype, device=t.device)
        kept[self._ranks(t).topk(count, largest=False).indices] = 0
        shape = [1] * t.ndim
        shape[self.dim] = -1
        return kept.reshape(shape) * default_mask.to(dtype=t.dtype)


class RandomStructured(_Structured):
    """Slices by chance."""

    def _ranks(self, t: Tensor) -> Tensor:
        return lazygrad.rand(t.shape[self.dim], device=t.device)

    @classmethod
    def apply(cls, module: Module, name: str, amount: float, dim: int = -1) -> Any:  # type: ignore[override]
        """Prune a parameter so."""
        return super().apply(module, name, amount=amount, dim=dim)


class LnStructured(_Structured):
    """The slices of least norm of order n."""

    def __init__(self, amount: float, n: Any, dim: int = -1):
        super().__init__(amount, dim)
        self.n = n

    def _ranks(self, t: Tensor) -> Tensor:
        others = [d for d in range(t.ndim) if d != self.dim % t.ndim]
        return lazygrad.norm(t, p=self.n, dim=others)

    @classmethod
    def apply(cls, module: Module, name: str, amount: float, n: Any, dim: int,  # type: ignore[override]
              importance_scores: Tensor | None = None) -> Any:
        """Prune a parameter so."""
        return super().apply(module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores)


class CustomFromMask(BasePruningMethod):
    """By a mask."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor):
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Both masks. Raises ArgumentError for one of another shape."""
        if default_mask.shape != self.mask.shape:
            raise ArgumentError(f"[prune] mask of shape {tuple(self.mask.shape)} for a parameter of shape "
                                f"{tuple(default_mask.shape)}")
        return default_mask * self.mask.to(default_mask.device, default_mask.dtype)

    @classmethod
    def apply(cls, module: Module, name: str, mask: Tensor) -> Any:  # type: ignore[override]
        """Prune a parameter so."""
        return super().apply(module, name, mask=mask)


def identity(module: Module, name: str) -> Module:
    """A mask of ones: nothing is pruned yet."""
    Identity.apply(module, name)
    return module


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Elements of the parameter where `mask`, of its shape, is 0 are held at 0, beside those that are."""
    CustomFromMask.apply(module, name, mask)
    return module


def l1_unstructured(module: Module, name: str, amount: float,
                    importance_scores: Tensor | None = None) -> Module:
    """The elements of least size, or of least score, become 0: `amount` of them, a share or a count."""
    L1Unstructured.apply(module, name, amount, importance_scores)
    return module


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """Elements chosen at random become 0."""
    RandomUnstructured.apply(module, name, amount)
    return module


def ln_structured(module: Module, name: str, amount: float, n: Any, dim: int,
                  importance_scores: Tensor | None = None) -> Module:
    """The slices along `dim` of least norm of order n become 0."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores)
    return module


def random_structured(module: Module, name: str, amount: float, dim: int) -> Module:
    """Slices along `dim` chosen at random become 0."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def global_unstructured(parameters: Iterable[tuple[Module, str]], pruning_method: Any,
                        importance_scores: dict[tuple[Module, str], Tensor] | None = None,
                        **kwargs: Any) -> None:
    """A method, made with `kwargs`, chooses among all elements of several parameters, which are given as
    pairs (module, name). Raises ArgumentTypeError for one that is not unstructured."""
    if not isinstance(parameters, Iterable):
        raise ArgumentTypeError("[prune] global_unstructured(): parameters is not an Iterable")
    if not isinstance(importance_scores, dict | None):
        raise ArgumentTypeError("[prune] global_unstructured(): importance_scores must be of type dict")
    pairs, scores = list(parameters), importance_scores or {}
    values = [getattr(module, name) for module, name in pairs]
    masks = [getattr(module, name + "_mask", None) for module, name in pairs]
    container, method = PruningContainer(), pruning_method(**kwargs)
    container._tensor_name = method._tensor_name = "temp"
    if method.PRUNING_TYPE != "unstructured":
        raise ArgumentTypeError('[prune] Only "unstructured" PRUNING_TYPE supported for the '
                                f"`pruning_method`. Found method {pruning_method} of type "
                                f"{method.PRUNING_TYPE}")
    container.add_pruning_method(method)
    mask = container.compute_mask(
        parameters_to_vector([scores.get(pair, v).detach() for pair, v in zip(pairs, values, strict=True)]),
        parameters_to_vector([lazygrad.ones_like(v.detach()) if m is None else m
                              for m, v in zip(masks, values, strict=True)]))
    parts = mask.split([v.numel() for v in values])
    for (module, name), part, value in zip(pairs, parts, values, strict=True):
        custom_from_mask(module, name, part.reshape(value.shape))


def remove(module: Module, name: str) -> Module:
    """The pruned values become the parameter, and masks end. Raises ArgumentError where nothing is pruned."""
    for key, hook in _methods(module, name):
        hook.remove(module)
        del module._forward_pre_hooks[key]
        return module
    raise ArgumentError(f"[prune] Parameter '{name}' of module {module} has to be pruned before pruning can "
                        "be removed")


def is_pruned(module: Module) -> bool:
    """Whether a parameter of this module, or of one inside, is pruned."""
    return any(_methods(m) for m in module.modules())


check_all(globals())
