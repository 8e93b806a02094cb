"""`Variable`, PyTorch's old name of a tensor that may require a gradient."""

from __future__ import annotations

from typing import Any

from lazygrad.inert.kinds import refused
from lazygrad.tensors.core import Tensor


class _Engine:
    """What stands for PyTorch's backward engine, which code asks to call something at a pass's end."""

    queue_callback = staticmethod(
        refused(
            "Variable._execution_engine.queue_callback",
            "a gradient is a part of the lazy graph here, which no engine walks: call the function after "
            "backward()",
        )
    )


class VariableMeta(type):
    """Every tensor is a Variable."""

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, Tensor)


class Variable(metaclass=VariableMeta):
    """`Variable(tensor, requires_grad)`: a tensor over the same storage, a leaf if it requires a gradient."""

    _execution_engine = _Engine()

    def __new__(cls, data: Tensor, requires_grad: bool = False, volatile: bool = False) -> Any:
        return Tensor._make_subclass(Tensor, data, requires_grad)
