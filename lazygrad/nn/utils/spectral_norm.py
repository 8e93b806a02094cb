"""Weights divided by their greatest singular value: the form with a hook, which
parametrizations.spectral_norm replaces."""

from __future__ import annotations

from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError
from lazygrad.nn import functional as F
from lazygrad.nn.conv import _ConvTransposeNd
from lazygrad.nn.module import Module
from lazygrad.nn.parameter import Parameter
from lazygrad.tensors import Tensor
from lazygrad.tensors.signatures import check_all


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """A weight as a matrix whose rows are those of `dim`."""
    return weight.movedim(dim, 0).flatten(1) if weight.ndim > 1 else weight.reshape(-1, 1)


def power_iterations(matrix: Tensor, u: Tensor, v: Tensor, count: int, eps: float, first: str) -> None:
    """Bring u and v, in place, nearer to the first singular vectors; `first` says which one moves first."""
    with lazygrad.no_grad():
        left, right = u.detach(), v.detach()
        for _ in range(count):
            for side in (first, "v" if first == "u" else "u"):
                if side == "u":
                    left = F.normalize(matrix.detach().mv(right), dim=0, eps=eps)
                else:
                    right = F.normalize(matrix.detach().t().mv(left), dim=0, eps=eps)
        u.copy_(left)
        v.copy_(right)


def rows_of(module: Module, dim: int | None) -> int:
    """The dimension of outputs: 1 for transposed convolutions, else 0, where none is given."""
    return (1 if isinstance(module, _ConvTransposeNd) else 0) if dim is None else dim


class SpectralNorm:
    """A forward pre-hook that divides a weight by its greatest singular value, followed by power
    iteration."""

    _version = 1

    def __init__(
        self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        if n_power_iterations <= 0:
            raise ArgumentError(
                "[spectral_norm] Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.name, self.dim, self.n_power_iterations, self.eps = name, dim, n_power_iterations, eps

    def reshape_weight_to_matrix(self, weight: Tensor) -> Tensor:
        """The weight as a matrix."""
        return as_matrix(weight, self.dim)

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """The weight of a module, after a power iteration where that is asked for."""
        weight = getattr(module, self.name + "_orig")
        u, v = getattr(module, self.name + "_u"), getattr(module, self.name + "_v")
        matrix = self.reshape_weight_to_matrix(weight)
        if do_power_iteration:
            power_iterations(matrix, u, v, self.n_power_iterations, self.eps, "v")
            u, v = u.clone(), v.clone()
        return weight / u.dot(matrix.mv(v))

    @staticmethod
    def apply(module: Module, name: str, n_power_iterations: int, dim: int, eps: float) -> SpectralNorm:
        """Replace a parameter by itself and two vectors."""
        if any(isinstance(h, SpectralNorm) and h.name == name for h in module._forward_pre_hooks.values()):
            raise ArgumentError(
                f"[spectral_norm] Cannot register two spectral_norm hooks on the same parameter {name}"
            )
        made = SpectralNorm(name, n_power_iterations, dim, eps)
        weight = module._parameters[name]
        if weight is None:
            raise ArgumentError(
                f"[spectral_norm] `SpectralNorm` cannot be applied as parameter `{name}` is None"
            )
        with lazygrad.no_grad():
            rows, columns = made.reshape_weight_to_matrix(weight).shape
            u, v = (F.normalize(weight.new_empty(n).normal_(0, 1), dim=0, eps=eps) for n in (rows, columns))
        delattr(module, name)
        module.register_parameter(name + "_orig", weight)
        setattr(module, name, weight.data)
        module.register_buffer(name + "_u", u)
        module.register_buffer(name + "_v", v)
        module.register_forward_pre_hook(made)
        module._register_state_dict_hook(SpectralNormStateDictHook(made))
        return made

    def remove(self, module: Module) -> None:
        """Make the weight a parameter again."""
        with lazygrad.no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        for suffix in ("", "_u", "_v", "_orig"):
            delattr(module, self.name + suffix)
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, do_power_iteration=module.training))


class SpectralNormStateDictHook:
    """Notes the version of the form in a state dict."""

    def __init__(self, fn: SpectralNorm) -> None:
        self.fn = fn

    def __call__(self, module: Module, state_dict: Any, prefix: str, local_metadata: dict[str, Any]) -> None:
        versions = local_metadata.setdefault("spectral_norm", {})
        versions[self.fn.name + ".version"] = self.fn._version


def spectral_norm(
    module: Any, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Any:
    """Divide a parameter by its greatest singular value in every forward; returns the module."""
    SpectralNorm.apply(module, name, n_power_iterations, rows_of(module, dim), eps)
    return module


def remove_spectral_norm(module: Any, name: str = "weight") -> Any:
    """Undo spectral_norm; the weight keeps its divided value."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            break
    else:
        raise ArgumentError(f"[remove_spectral_norm] spectral_norm of '{name}' not found in {module}")
    for key, hook in module._state_dict_hooks.items():
        if isinstance(hook, SpectralNormStateDictHook) and hook.fn.name == name:
            del module._state_dict_hooks[key]
            break
    return module


check_all(globals())
