"""`as_torch`: lazygrad under the name `torch`, and its modules under the names of torch's, in this process.

A finder answers for `torch` and `torch.*` with lazygrad's own module objects, so that `torch.nn` and
`lazygrad.nn` are one. Only the root is a module of its own: its `__version__` is that of the PyTorch whose
surface this is, since programs compare it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import lazygrad
from lazygrad import dtypes
from lazygrad.errors import TorchNameError
from lazygrad.torch_classes import show_as_torch
from lazygrad.version import TORCH_VERSION

# where lazygrad's module of the same name is another thing
_ELSEWHERE = {"ops": "lazygrad.torch_ops"}
# what reads the memory of PyTorch's tensors behind its back, and has an equal here
_BESIDE = ("safetensors", "safetensors.numpy", "safetensors.torch")
# where processes that Python starts for this one find the name
_STAND_IN = str(Path(__file__).parent / "stand_in")


class TorchRoot(ModuleType):
    """The module `torch`: every name is looked up and set in lazygrad."""

    def __getattr__(self, name: str) -> Any:
        if name in _ELSEWHERE:
            return importlib.import_module(_ELSEWHERE[name])
        if name == "torch":  # PyTorch's root has itself among its names
            return self
        return getattr(lazygrad, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _ELSEWHERE or (name.startswith("__") and name.endswith("__")):
            super().__setattr__(name, value)
        else:
            setattr(lazygrad, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(lazygrad, name)

    def __dir__(self) -> list[str]:
        return dir(lazygrad)

    def __repr__(self) -> str:
        return f"<module 'torch' ({TORCH_VERSION}, lazygrad {lazygrad.__version__})>"


class TorchLoader(Loader):
    """Loads `torch` as a TorchRoot, and `torch.x` as the module `lazygrad.x` itself."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module that stands under the name of the spec."""
        if spec.name == "torch":
            return TorchRoot("torch", lazygrad.__doc__)
        module = importlib.import_module(our_name(spec.name))
        self.own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the root its own attributes, and another module its spec back."""
        if isinstance(module, TorchRoot):
            module.__path__ = []
            module.__file__ = lazygrad.__file__
            module.__version__ = TORCH_VERSION
        else:
            module.__spec__ = self.own_spec
        # what is loaded has its other name at once: importing it by that would bind it in its package anew,
        # over a function of the same name
        for name, loaded in list(sys.modules.items()):
            first = name.removeprefix("lazygrad.").partition(".")[0]
            if name.startswith("lazygrad.") and first not in _ELSEWHERE:
                sys.modules.setdefault(f"torch.{name.removeprefix('lazygrad.')}", loaded)


class TorchDistribution(Distribution):
    """What is installed under the name torch: programs ask for its version before they import it."""

    def read_text(self, filename: str) -> str | None:
        """The text of a file about the package, None where there is none."""
        return {
            "METADATA": f"Metadata-Version: 2.1\nName: torch\nVersion: {TORCH_VERSION}\n",
            "top_level.txt": "torch\n",
        }.get(filename)

    def locate_file(self, path: Any) -> Path:
        """Where a file of the package is."""
        return Path(lazygrad.__file__).parent / path


class TorchFinder(DistributionFinder):
    """Finds `torch` and everything below it in lazygrad."""

    def find_distributions(self, context: Any = None) -> Iterator[Distribution]:
        """The package torch, if it is asked for."""
        if context is None or context.name is None or context.name.lower() == "torch":
            yield TorchDistribution()

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The spec of a module of torch. For one that lazygrad lacks, ModuleNotFoundError, or None where code
        only asks whether it is there (`importlib.util.find_spec`)."""
        if fullname in _BESIDE:
            return ModuleSpec(fullname, TorchLoader(), origin=lazygrad.__file__, is_package=True)
        if fullname != "torch" and not fullname.startswith("torch."):
            return None
        if fullname != "torch":
            try:
                importlib.import_module(our_name(fullname))
            except ModuleNotFoundError as error:
                if error.name is None or not our_name(fullname).startswith(error.name):
                    raise  # something that our module needs
                if sys._getframe(2).f_globals.get("__name__") == "importlib.util":
                    return None
                raise ModuleNotFoundError(
                    f"No module named {fullname!r}: torch is lazygrad here, which has neither a module nor a "
                    f"name {our_name(fullname)!r}"
                ) from None
        return ModuleSpec(fullname, TorchLoader(), origin=lazygrad.__file__, is_package=True)


def our_name(name: str) -> str:
    """The name of lazygrad's module for one of torch's, or beside it: "torch.nn" is "lazygrad.nn"."""
    if name in _BESIDE:
        return f"lazygrad.{name}"
    if name == "torch":
        return "lazygrad"
    _, first, rest = (*name.split(".", 2), "", "")[:3]
    return ".".join(filter(None, [_ELSEWHERE.get(first, f"lazygrad.{first}"), rest]))


def as_torch() -> ModuleType:
    """Make `import torch` mean lazygrad in this process, with all of its modules, and return that `torch`.

    Types, shapes and classes have their names in torch from then on. Processes that `multiprocessing` starts
    for this one have the name too. Calling it again changes nothing. Raises
    TorchNameError where PyTorch itself has been imported already.
    """
    there = sys.modules.get("torch")
    if isinstance(there, TorchRoot):
        return there
    if there is not None:
        raise TorchNameError(
            f"[as_torch] PyTorch itself was imported already, from {getattr(there, '__file__', '?')}: call "
            "lazygrad.as_torch() before anything that imports torch, or start the program with "
            "python -m lazygrad run SCRIPT"
        )
    sys.meta_path.insert(0, TorchFinder())
    if _STAND_IN not in sys.path:  # behind the folder of the program
        sys.path.insert(1, _STAND_IN)
    dtypes.shown_package = "torch"
    show_as_torch()
    return importlib.import_module("torch")
