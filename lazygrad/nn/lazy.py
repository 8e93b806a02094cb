"""Layers that learn the size of their input from the first one."""

from __future__ import annotations

import inspect
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError, ArgumentTypeError
from lazygrad.nn import conv, norm
from lazygrad.nn.linear import Linear
from lazygrad.nn.module import Module
from lazygrad.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from lazygrad.tensors import Tensor


class LazyModuleMixin(Module):
    """Runs `initialize_parameters` on the first input, then becomes `cls_to_become`."""

    cls_to_become: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._initialize_hook = self.register_forward_pre_hook(self._infer_parameters, with_kwargs=True)

    def has_uninitialized_params(self) -> bool:
        """Whether some parameter or buffer has no shape yet."""
        return any(is_lazy(t) for t in (*self._parameters.values(), *self._buffers.values()))

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give parameters their shapes from the first input; subclasses define it."""

    def _infer_parameters(self, module: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        module.initialize_parameters(*args, **kwargs)
        if module.has_uninitialized_params():
            raise ArgumentError(f"[lazy] module {type(self).__name__} has not been fully initialized")
        module._settle()

    def _settle(self) -> None:
        self._initialize_hook.remove()
        del self._initialize_hook
        if self.cls_to_become is not None:
            self.__class__ = self.cls_to_become

    def reset_parameters(self) -> None:
        """Initial values, where shapes are known."""
        known = list(self.parameters(recurse=False))
        # the base class makes empty ones first
        empty = bool(known) and not any(is_lazy(p) or p.numel() for p in known)
        if not empty and not self.has_uninitialized_params():
            super().reset_parameters()  # type: ignore[misc]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name, tensor in (*self._parameters.items(), *self._buffers.items()):
            saved = state_dict.get(prefix + name)
            if is_lazy(tensor) and saved is not None and not is_lazy(saved):
                assert tensor is not None
                tensor.materialize(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class LazyLinear(LazyModuleMixin, Linear):
    """Linear with in_features from the first input."""

    cls_to_become = Linear

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, 0, False, device, dtype)
        self.weight: Any = UninitializedParameter(device=device, dtype=dtype)
        self.out_features = out_features
        if bias:
            self.bias: Any = UninitializedParameter(device=device, dtype=dtype)

    def initialize_parameters(self, input: Tensor) -> None:
        """Shapes from (..., in_features)."""
        if self.has_uninitialized_params():
            self.in_features = input.shape[-1]
            self.weight.materialize((self.out_features, self.in_features))
            if self.bias is not None:
                self.bias.materialize((self.out_features,))
            self.reset_parameters()


class _LazyConv(LazyModuleMixin):
    """A convolution with in_channels from the first input."""

    transposed: bool
    rank: int

    def __init__(self, out_channels: int, *args: Any, **kwargs: Any) -> None:
        base = self.cls_to_become
        names = (
            "kernel_size",
            "stride",
            "padding",
            *(
                ("output_padding", "groups", "bias", "dilation")
                if self.transposed
                else ("dilation", "groups", "bias")
            ),
            "padding_mode",
            "device",
            "dtype",
        )
        twice = sorted(kwargs.keys() & set(names[: len(args)]))
        if len(args) > len(names) or twice:
            raise ArgumentTypeError(
                f"[{type(self).__name__}] got {f'{twice[0]!r} twice' if twice else 'too many arguments'}: it "
                f"takes out_channels, {', '.join(names)}"
            )
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        bias = given.pop("bias", True)
        groups = given.pop("groups", 1)
        if groups <= 0:
            raise ArgumentError(f"[{type(self).__name__}] groups must be a positive integer, got {groups}")
        # made without channels: groups divide them once they are known
        super().__init__(0, 0, **given, groups=1, bias=False)
        assert issubclass(type(self), base)
        self.out_channels, self.groups = out_channels, groups
        where: dict[str, Any] = {"device": given.get("device"), "dtype": given.get("dtype")}
        self.weight: Any = UninitializedParameter(**where)
        if bias:
            self.bias: Any = UninitializedParameter(**where)

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Shapes from (N, in_channels, ...) or (in_channels, ...)."""
        if not self.has_uninitialized_params():
            return
        me: Any = self
        if input.ndim not in (self.rank + 1, self.rank + 2):
            raise ArgumentError(
                f"[lazy] Expected {self.rank + 1}D (unbatched) or {self.rank + 2}D (batched) input to "
                f"{type(self).__name__}, but got input of size: {tuple(input.shape)}"
            )
        me.in_channels = input.shape[-self.rank - 1]
        if me.in_channels % me.groups:
            raise ArgumentError("[lazy] in_channels must be divisible by groups")
        first, second = (
            (me.in_channels, me.out_channels) if self.transposed else (me.out_channels, me.in_channels)
        )
        self.weight.materialize((first, second // me.groups, *me.kernel_size))
        if self.bias is not None:
            self.bias.materialize((me.out_channels,))
        self.reset_parameters()


class _LazyNorm(LazyModuleMixin):
    """A normalization with num_features from the first input."""

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        # made without parameters: they come with the first input
        super().__init__(0, eps, momentum, False, False, device, dtype)
        self.affine, self.track_running_stats = affine, track_running_stats
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        if affine:
            self.weight: Any = UninitializedParameter(**where)
            if bias:
                self.bias: Any = UninitializedParameter(**where)
        if track_running_stats:
            self.register_buffer("running_mean", UninitializedBuffer(**where))
            self.register_buffer("running_var", UninitializedBuffer(**where))
            self.register_buffer(
                "num_batches_tracked", lazygrad.tensor(0, dtype=lazygrad.int64, device=device)
            )

    def initialize_parameters(self, input: Tensor) -> None:
        """Shapes from (N, num_features, ...)."""
        if self.has_uninitialized_params():
            me: Any = self
            me.num_features = input.shape[1]
            for name in ("weight", "bias", "running_mean", "running_var"):
                tensor = getattr(self, name)
                if is_lazy(tensor):
                    tensor.materialize((me.num_features,))
            self.reset_parameters()


def _lazy(base: Any, kind: Any) -> Any:
    own = {
        "__doc__": f"{base.__name__} with the number of channels from the first input.",
        "__module__": __name__,
        "cls_to_become": base,
    }
    if kind is _LazyConv:  # the base's arguments, but for the channels that come in
        shown = list(inspect.signature(base).parameters.values())
        own["__signature__"] = inspect.Signature(shown[1:])
    return type(f"Lazy{base.__name__}", (kind, base), own)


LazyConv1d, LazyConv2d, LazyConv3d = (_lazy(c, _LazyConv) for c in (conv.Conv1d, conv.Conv2d, conv.Conv3d))
LazyConvTranspose1d, LazyConvTranspose2d, LazyConvTranspose3d = (
    _lazy(c, _LazyConv) for c in (conv.ConvTranspose1d, conv.ConvTranspose2d, conv.ConvTranspose3d)
)
LazyBatchNorm1d, LazyBatchNorm2d, LazyBatchNorm3d = (
    _lazy(c, _LazyNorm) for c in (norm.BatchNorm1d, norm.BatchNorm2d, norm.BatchNorm3d)
)
LazyInstanceNorm1d, LazyInstanceNorm2d, LazyInstanceNorm3d = (
    _lazy(c, _LazyNorm) for c in (norm.InstanceNorm1d, norm.InstanceNorm2d, norm.InstanceNorm3d)
)
