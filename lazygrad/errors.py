"""Errors that a user can make, each also the built-in type that PyTorch users catch."""

from pickle import UnpicklingError


class LazygradError(Exception):
    """Every error that lazygrad raises on purpose."""


class ShapeError(LazygradError, ValueError, RuntimeError):
    """Shapes or axes that do not fit an operation: PyTorch raises the one in Python, the other in C++."""


class DTypeError(LazygradError, NotImplementedError):
    """An element type that an operation or a device cannot take: a RuntimeError too."""


class ArgumentError(LazygradError, ValueError, RuntimeError):
    """An argument with a wrong value: PyTorch raises the one in Python, the other in C++."""


class ArgumentTypeError(LazygradError, TypeError):
    """An argument of a wrong Python type."""


class TransformError(ArgumentTypeError, ArgumentError):
    """What a transformation of functions cannot take: of any of the types that PyTorch raises for that."""


class ConditionError(LazygradError, AssertionError):
    """A condition on arguments that does not hold, where PyTorch asserts it."""


class WrongObjectError(ArgumentTypeError, AttributeError):
    """An argument that lacks an attribute which is asked of it: PyTorch lets Python's error pass."""


class AxisError(LazygradError, IndexError):
    """An axis outside the dimensions of a tensor."""


class NoSuchKeyError(LazygradError, KeyError):
    """A key that a mapping lacks."""

    __str__ = Exception.__str__  # KeyError shows the repr of its text


class OutOfBoundsError(LazygradError, IndexError, RuntimeError):
    """An index outside a tensor. PyTorch raises IndexError for `x[i]`, RuntimeError in gather and scatter."""


class GradientError(LazygradError, RuntimeError):
    """A gradient that does not exist or was not kept."""


class DeviceError(LazygradError, RuntimeError):
    """A device that is missing, cannot do what was asked, or failed."""


class CaptureError(LazygradError, RuntimeError):
    """Something in a function under `lazygrad.jit` that a replay could not repeat."""


class MissingError(LazygradError, NotImplementedError):
    """A question that has no answer, of PyTorch's own type for that."""


class BatchError(LazygradError, RuntimeError):
    """Something in a function under `vmap` that cannot be done for all examples at once."""


class OutOfMemoryError(DeviceError):
    """A device that has no room for a buffer."""


class SettingError(LazygradError, ValueError):
    """An environment variable or setting that is unknown or has a wrong value."""


class FileFormatError(LazygradError, UnpicklingError, RuntimeError):
    """A file that is damaged, or not of the kind that it should be. Nothing of it was taken."""


class TruncatedFileError(FileFormatError, EOFError):
    """A file that ends before what it promises."""


class UnsafeFileError(FileFormatError):
    """A file that asks for code to be run, or for more memory than what it holds can need."""


class TorchNameError(LazygradError, ImportError):
    """The name `torch` that is PyTorch's own already."""


class MissingPackageError(LazygradError, ImportError):
    """An optional package that is not installed."""


class UnsupportedError(LazygradError, RuntimeError):
    """A part of PyTorch that has no counterpart here."""


class LinAlgError(LazygradError, RuntimeError):
    """A matrix that has no such factorization, or no inverse."""


class LibraryError(UnsupportedError, OSError):
    """A library compiled for PyTorch: packages that have another way catch OSError."""
