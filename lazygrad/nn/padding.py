"""Padding modules: constant, zero, reflection, replication and circular, over one to three axes."""

from __future__ import annotations

from functools import partial
from typing import Any

from lazygrad.errors import ArgumentError
from lazygrad.nn import functional as F
from lazygrad.nn.function_module import REQUIRED, FunctionModule
from lazygrad.nn.function_module import define as _define
from lazygrad.nn.sizes import per_axis
from lazygrad.tensors import Tensor


class _Padding(FunctionModule):
    """Pads the last `rank` axes; one number pads every side, else (before, after) for each axis from the last
    on."""

    rank: int
    mode: str

    def _take(self, settings: dict[str, Any]) -> None:
        super()._take({**settings, "padding": per_axis(settings["padding"], 2 * self.rank)})

    def forward(self, input: Tensor) -> Tensor:
        """The padded input."""
        return F.pad(
            input, self.padding, self.mode, self.value if isinstance(self, _ConstantPadNd) else None
        )

    def extra_repr(self) -> str:
        has_value = "value" in self._settings.parameters
        return f"padding={self.padding}, value={self.value}" if has_value else f"{self.padding}"


class _ConstantPadNd(_Padding):
    """Pads with one value."""

    mode = "constant"
    value: Any = 0.0


class _ReflectionPadNd(_Padding):
    """Pads with the mirror image."""

    mode = "reflect"


class _ReplicationPadNd(_Padding):
    """Pads with the edge."""

    mode = "replicate"


class _CircularPadNd(_Padding):
    """Pads with the other end."""

    mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        """The padded input. ValueError unless it has channels, and at most one axis before them."""
        if input.ndim not in (self.rank + 1, self.rank + 2):
            raise ArgumentError(
                f"[{type(self).__name__}] expected {self.rank + 1}D or {self.rank + 2}D input (got "
                f"{input.ndim}D input)"
            )
        return super().forward(input)


_FAMILIES = {kind.mode: kind
             for kind in (_ConstantPadNd, _ReflectionPadNd, _ReplicationPadNd, _CircularPadNd)}


def _row(name: str, rank: int, mode: str, doc: str, **settings: Any) -> Any:
    base = type(f"_{name}", (_FAMILIES[mode],), {"rank": rank, "__module__": __name__})
    return _define(name, F.pad, doc, base=base, module=__name__, padding=REQUIRED, **settings)


_constant = partial(_row, mode="constant", value=REQUIRED)
_zero = partial(_row, mode="constant")
ConstantPad1d = _constant("ConstantPad1d", 1, doc="Pads the last axis with a value.")
ConstantPad2d = _constant("ConstantPad2d", 2, doc="Pads the last two axes with a value.")
ConstantPad3d = _constant("ConstantPad3d", 3, doc="Pads the last three axes with a value.")
ZeroPad1d = _zero("ZeroPad1d", 1, doc="Pads the last axis with zeros.")
ZeroPad2d = _zero("ZeroPad2d", 2, doc="Pads the last two axes with zeros.")
ZeroPad3d = _zero("ZeroPad3d", 3, doc="Pads the last three axes with zeros.")
ReflectionPad1d = _row("ReflectionPad1d", 1, "reflect", "Pads the last axis with its mirror image.")
ReflectionPad2d = _row("ReflectionPad2d", 2, "reflect", "Pads the last two axes with their mirror image.")
ReflectionPad3d = _row("ReflectionPad3d", 3, "reflect", "Pads the last three axes with their mirror image.")
ReplicationPad1d = _row("ReplicationPad1d", 1, "replicate", "Pads the last axis with its edge.")
ReplicationPad2d = _row("ReplicationPad2d", 2, "replicate", "Pads the last two axes with their edge.")
ReplicationPad3d = _row("ReplicationPad3d", 3, "replicate", "Pads the last three axes with their edge.")
CircularPad1d = _row("CircularPad1d", 1, "circular", "Pads the last axis with its other end.")
CircularPad2d = _row("CircularPad2d", 2, "circular", "Pads the last two axes with their other end.")
CircularPad3d = _row("CircularPad3d", 3, "circular", "Pads the last three axes with their other end.")
