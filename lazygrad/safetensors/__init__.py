"""The safetensors format, read lazily and without copies: `load_file`, `save_file`, `safe_open`.

Under `as_torch` this package also stands under the name `safetensors`.
"""

from lazygrad.safetensors.layout import SafetensorError
from lazygrad.safetensors.opening import PySafeSlice, safe_open
from lazygrad.safetensors.torch import load, load_file, load_model, save, save_file, save_model

__version__ = "0.8.0"  # of the package whose interface this is

__all__ = [
    "PySafeSlice",
    "SafetensorError",
    "load",
    "load_file",
    "load_model",
    "safe_open",
    "save",
    "save_file",
    "save_model",
]
