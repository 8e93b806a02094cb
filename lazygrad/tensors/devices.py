"""`device`: where a tensor's values live, as users write it and as PyTorch prints it."""

from __future__ import annotations

from typing import Any

from lazygrad import config
from lazygrad.errors import ArgumentTypeError, DeviceError
from lazygrad.runtime.registry import open_device

KINDS = ("CPU", "CL", "NUMPY", "META")
# what programs name to ask whether it is there: no tensor can be on them
_NAMED = frozenset(
    "MPS XPU XLA HPU IPU MTIA VE VULKAN HIP MAIA LAZY IDEEP FPGA ORT PRIVATEUSEONE".split())
_OTHER_NAMES = {"CUDA": "CL"}  # what PyTorch's programs call an accelerator


def canonical_device(value: Any) -> str:
    """The name that the engine uses ("CPU", "CL", "CL:1", "NUMPY", "META") of a device, a name in any letter
    case, or None."""
    if value is None:
        return config.get("DEVICE")
    if isinstance(value, device):
        return value.name
    if type(value) is int:  # of an accelerator
        value = f"cuda:{value}"
    if not isinstance(value, str):
        raise ArgumentTypeError(f"[device] expected a name or a device, not {type(value).__name__}")
    kind, _, number = value.upper().partition(":")
    kind = _OTHER_NAMES.get(kind, kind)
    if kind not in (*KINDS, *_NAMED) or (number and not number.isdigit()):
        raise DeviceError(f"[device] unknown device {value!r}: there are cpu, cl, cl:1 ... (GPUs, through "
                          "OpenCL), numpy and meta")
    numbered = kind in _NAMED or (kind == "CL" and number and int(number))
    return f"{kind}:{int(number)}" if numbered and number else kind


def usable_device(value: Any) -> str:
    """The name as `canonical_device` has it, of a device that this machine has. Raises DeviceError otherwise:
    at the call that names it, not when something is computed there."""
    name = canonical_device(value)
    try:
        open_device(name)
    except DeviceError as error:
        if type(value) is int or (isinstance(value, str) and value.lower().startswith("cuda")):
            raise DeviceError(
                "[device] Torch not compiled with CUDA enabled: 'cuda' means an OpenCL device here, and "
                f"{error}"
            ) from error
        raise
    return name


_entered: list[Any] = []  # blocks in which a device is the default


class device:
    """A device by name (`device("cl:1")`) or by kind and index (`device("cl", 1)`); equal to its name in any
    case. As a context manager: the default device of a block."""

    __slots__ = ("name",)

    def __init__(self, type: Any, index: int | None = None):
        if index is not None and (not isinstance(type, str) or isinstance(index, bool | float | str)):
            raise ArgumentTypeError(
                f"[device] device(): type must be str and index int, not {type!r} and {index!r}"
            )
        self.name = canonical_device(type if index is None else f"{type}:{index}")

    @property
    def type(self) -> str:
        """The kind in lower case: "cpu", "cl", "numpy" or "meta"."""
        return self.name.partition(":")[0].lower()

    @property
    def index(self) -> int | None:
        """The number after the colon, None without one."""
        number = self.name.partition(":")[2]
        return int(number) if number else None

    def __enter__(self) -> device:
        block = config.override(DEVICE=usable_device(self))
        block.__enter__()
        _entered.append(block)
        return self

    def __exit__(self, *_: object) -> None:
        _entered.pop().__exit__(None, None, None)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, device):
            return self.name == other.name
        return isinstance(other, str) and self.name == other.upper()

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name.lower()

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{index})"
