"""einops on lazygrad's tensors: its backend for them is made when einops is imported, before us or after.

Nothing here imports einops. Under the name `torch` (`as_torch`) einops takes its own backend for torch.
"""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from lazygrad.tensors.core import FUNCTIONS, Tensor

_MODULE = "einops._backends"


def make_backend(module: ModuleType) -> None:
    """Define the class that einops finds among the subclasses of its AbstractBackend."""
    base: Any = module.AbstractBackend

    class LazygradBackend(base):
        """What einops needs of tensors."""

        framework_name = "lazygrad"

        def is_appropriate_type(self, tensor: Any) -> bool:
            return isinstance(tensor, Tensor)

        def from_numpy(self, x: Any) -> Any:
            made = FUNCTIONS["from_numpy"](x)
            return made.requires_grad_() if self.is_float_type(made) else made

        def to_numpy(self, x: Any) -> Any:
            return x.detach().cpu().numpy()

        def arange(self, start: int, stop: int) -> Any:
            return FUNCTIONS["arange"](start, stop)

        def reduce(self, x: Any, operation: str, axes: Any) -> Any:
            if operation in ("min", "max"):
                return getattr(x, f"a{operation}")(dim=tuple(axes))
            if operation in ("sum", "mean"):
                return getattr(x, operation)(dim=tuple(axes))
            for axis in sorted(axes, reverse=True):  # any, all and prod take one dimension at a time
                x = getattr(x, operation)(dim=axis)
            return x

        def transpose(self, x: Any, axes: Any) -> Any:
            return x.permute(tuple(axes))

        def stack_on_zeroth_dimension(self, tensors: list[Any]) -> Any:
            return FUNCTIONS["stack"](tensors)

        def add_axes(self, x: Any, n_axes: int, pos2len: dict[int, int]) -> Any:
            sizes = [-1] * n_axes
            for place, length in pos2len.items():
                x = x.unsqueeze(place)
                sizes[place] = length
            return x.expand(sizes)

        def tile(self, x: Any, repeats: Any) -> Any:
            return x.repeat(tuple(repeats))

        def concat(self, tensors: list[Any], axis: int) -> Any:
            return FUNCTIONS["cat"](tensors, dim=axis)

        def add_axis(self, x: Any, new_position: int) -> Any:
            return x.unsqueeze(new_position)

        def is_float_type(self, x: Any) -> bool:
            return x.is_floating_point()

        def einsum(self, pattern: str, *x: Any) -> Any:
            return FUNCTIONS["einsum"](pattern, *x)

    module.LazygradBackend = LazygradBackend  # type: ignore[attr-defined]


class _Finder(MetaPathFinder, Loader):
    """Loads one module of einops as Python would, and adds the backend to it."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        make_backend(module)


def watch() -> None:
    """Make the backend now if einops has been imported, else when it is."""
    if _MODULE in sys.modules:
        make_backend(sys.modules[_MODULE])
    else:
        sys.meta_path.insert(0, _Finder())
