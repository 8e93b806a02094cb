"""DataParallel over the one device that there is."""

from __future__ import annotations

from typing import Any

from lazygrad.nn.module import Module


class DataParallel(Module):
    """Computes what `module` computes; its parameters are named `module.<name>`."""

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        self.module = module
        self.dim, self.device_ids, self.output_device = dim, list(device_ids or []), output_device

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """The module's output."""
        return self.module(*inputs, **kwargs)

    # PyTorch's steps, which subclasses take or replace: there is one device

    def scatter(self, inputs: Any, kwargs: Any, device_ids: Any) -> tuple[list[Any], list[Any]]:
        """The inputs and the named ones of each device."""
        return [tuple(inputs)], [dict(kwargs or {})]

    def replicate(self, module: Module, device_ids: Any) -> list[Module]:
        """The module of each device."""
        return [module]

    def parallel_apply(self, replicas: Any, inputs: Any, kwargs: Any) -> list[Any]:
        """The output of each device."""
        return [m(*args, **named) for m, args, named in zip(replicas, inputs, kwargs, strict=False)]

    def gather(self, outputs: Any, output_device: Any) -> Any:
        """The outputs as one."""
        assert len(outputs) == 1, "there is one device"
        return outputs[0]


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Any = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Any:
    """The module's output."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    return module(*inputs, **(module_kwargs or {}))
