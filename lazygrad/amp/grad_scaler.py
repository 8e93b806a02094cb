"""`GradScaler`: losses multiplied by a number that grows while gradients stay finite, and is cut when they do
not."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from lazygrad import cuda
from lazygrad.dtypes import float16
from lazygrad.errors import ArgumentError
from lazygrad.tensors import FUNCTIONS
from lazygrad.tensors.core import Tensor
from lazygrad.tensors.guards import Guarded
from lazygrad.tensors.modes import no_grad


class GradScaler(Guarded):
    """Scales losses, unscales gradients before an optimizer's step, and leaves out steps with gradients that
    are not finite. It must read whether they are, once for each step."""

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        self._device = device
        if enabled and device == "cuda" and not cuda.is_available():
            warnings.warn(
                "torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.", stacklevel=2
            )
            enabled = False
        self._enabled = enabled
        assert growth_factor > 1.0, "The growth factor must be > 1.0."
        assert backoff_factor < 1.0, "The backoff factor must be < 1.0."
        self._scale, self._growth_tracker = float(init_scale), 0
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        self._found: dict[int, bool] = {}  # by optimizer: whether a gradient was not finite
        self._stepped: set[int] = set()

    def scale(self, outputs: Any) -> Any:
        """Outputs (a tensor, or nested lists of them) times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        if isinstance(outputs, Iterable):
            values = [self.scale(y) for y in outputs]
            return type(outputs)(values) if isinstance(outputs, list | tuple) else values
        raise ArgumentError("[GradScaler] outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer's parameters by the scale. Raises ArgumentError where that has
        been done since the last update, and for float16, where what was scaled has lost its digits."""
        if not self._enabled:
            return
        if id(optimizer) in self._stepped:
            raise ArgumentError("[GradScaler] unscale_() is being called after step().")
        if id(optimizer) in self._found:
            raise ArgumentError(
                "[GradScaler] unscale_() has already been called on this optimizer since the last update()."
            )
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if any(g.dtype is float16 for g in grads):
            raise ArgumentError("[GradScaler] Attempting to unscale FP16 gradients: keep parameters in "
                                "float32")
        with no_grad():
            for g in grads:
                g.mul_(1.0 / self._scale)
            finite = [g.isfinite().all() for g in grads]
        self._found[id(optimizer)] = bool(grads) and not bool(FUNCTIONS["stack"](finite).all())

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """The optimizer's step, unless a gradient is not finite."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise ArgumentError(
                "[GradScaler] Closure use is not currently supported if GradScaler is enabled."
            )
        if id(optimizer) in self._stepped:
            raise ArgumentError("[GradScaler] step() has already been called since the last update().")
        if id(optimizer) not in self._found:
            self.unscale_(optimizer)
        self._stepped.add(id(optimizer))
        return None if self._found[id(optimizer)] else optimizer.step(*args, **kwargs)

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Cut the scale if a gradient was not finite, let it grow after `growth_interval` steps without one;
        or set it."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif any(self._found.values()):
            self._scale, self._growth_tracker = self._scale * self._backoff_factor, 0
        else:
            assert self._found, "No inf checks were recorded prior to update."
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                self._scale, self._growth_tracker = self._scale * self._growth_factor, 0
        self._found.clear()
        self._stepped.clear()

    def get_scale(self) -> float:
        """The scale now; 1 where scaling is off."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """What the scale is multiplied by when it grows."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Change what the scale is multiplied by when it grows."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the scale is multiplied by when it is cut."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Change what the scale is multiplied by when it is cut."""
        self._backoff_factor = new_factor

    def _get_growth_tracker(self) -> int:  # PyTorch's name, which savers of states ask
        return self._growth_tracker

    def get_growth_interval(self) -> int:
        """After how many steps the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Change after how many steps the scale grows."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """Scale, factors and count; empty where scaling is off."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state_dict."""
        if not self._enabled:
            return
        if not state_dict:
            raise ArgumentError(
                "[GradScaler] The source state dict is empty, possibly because it "
                "was saved from a disabled instance of GradScaler."
            )
        self._scale = float(state_dict["scale"])
        self._growth_factor, self._backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._growth_interval, self._growth_tracker = (
            state_dict["growth_interval"],
            state_dict["_growth_tracker"],
        )
