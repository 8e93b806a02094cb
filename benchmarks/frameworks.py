"""The frameworks compared: how each is loaded, makes tensors, differentiates, and waits for its results."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.rows import Row

Call = Callable[[], Any]


class Framework:
    """A framework in this process. `programs` has a method for each program that it takes part in."""

    package = ""
    programs: Any

    def __init__(self, threads: int) -> None:
        """Import the package and limit it to so many threads; the process has as many cores already."""

    @classmethod
    def installed(cls) -> bool:
        return importlib.util.find_spec(cls.package) is not None

    def tensor(self, array: np.ndarray, differentiable: bool = False) -> Any:
        raise AssertionError

    def function(self, work: Callable[..., Any], options: dict[str, Any], tensors: dict[str, Any]) -> Call:
        """A call of a function of tensors, prepared for many calls."""
        raise AssertionError

    def gradient(
        self, work: Callable[..., Any], options: dict[str, Any], tensors: dict[str, Any], wrt: Sequence[str]
    ) -> Call:
        """A call that goes forward and back: the gradients of `wrt` from the cotangent tensors["g"]."""
        raise AssertionError

    def finish(self, outputs: Sequence[Any]) -> None:
        """Return when these results are in memory."""

    def numpy(self, output: Any) -> np.ndarray:
        return np.asarray(output)

    def call(self, row: Row) -> Call | None:
        """What a row does, as a call with tensors for results; None if this framework has no such program."""
        work = getattr(self.programs, row.program, None)
        if work is None:
            return None
        arrays = row.make_inputs()
        if row.stateful or row.group == "inference":
            return work(arrays, **row.options)
        tensors = {name: self.tensor(a, name in row.wrt) for name, a in arrays.items()}
        if row.wrt:
            return self.gradient(work, dict(row.options), tensors, row.wrt)
        return self.function(work, dict(row.options), tensors)


class Torch(Framework):
    """PyTorch's surface: lazygrad and the reference differ from it in a line or two."""

    package = "torch"
    wide = False  # whether floats are float64

    def __init__(self, threads: int) -> None:
        from benchmarks.programs_torch import TorchPrograms

        self.torch = importlib.import_module(self.package)
        self.limit(threads)
        dtype = self.torch.float64 if self.wide else self.torch.float32
        self.programs = TorchPrograms(self.torch, self.tensor, self.compiled, self.compiled_whole, dtype)

    def limit(self, threads: int) -> None:
        self.torch.set_num_threads(threads)

    def compiled(self, function: Any) -> Any:
        """A function of tensors, prepared for many calls."""
        return function

    def compiled_whole(self, function: Any) -> Any:
        """A function that also differentiates or steps an optimizer, prepared for many calls."""
        return function

    def tensor(self, array: np.ndarray, differentiable: bool = False) -> Any:
        if self.wide and array.dtype.kind == "f":
            array = array.astype(np.float64)
        made = self.torch.tensor(array)
        return made.requires_grad_() if differentiable else made

    def function(self, work: Callable[..., Any], options: dict[str, Any], tensors: dict[str, Any]) -> Call:
        work = self.compiled(work)
        return lambda: work(**tensors, **options)

    def gradient(
        self, work: Callable[..., Any], options: dict[str, Any], tensors: dict[str, Any], wrt: Sequence[str]
    ) -> Call:
        work, grad, g = self.compiled(work), self.torch.autograd.grad, tensors.pop("g")
        chosen = [tensors[name] for name in wrt]
        return self.compiled_whole(lambda: grad(work(**tensors, **options), chosen, g))

    def numpy(self, output: Any) -> np.ndarray:
        return output.detach().numpy()


class TorchCompile(Torch):
    def compiled(self, function: Any) -> Any:
        return self.torch.compile(function)


class Lazygrad(Torch):
    package = "lazygrad"

    def limit(self, threads: int) -> None:
        from lazygrad import config

        assert config.get("THREADS") == threads, "the conductor sets it for each worker"

    def compiled(self, function: Any) -> Any:
        return self.torch.jit(function)

    def compiled_whole(self, function: Any) -> Any:
        return self.torch.jit(function)

    def finish(self, outputs: Sequence[Any]) -> None:
        for output in outputs:
            output.realize()


class Reference(Torch):
    """The values that are right: PyTorch in float64."""

    wide = True


class Interpreter(Lazygrad):
    """The reference where PyTorch is missing: lazygrad's NumPy interpreter in float64."""

    wide = True

    def compiled(self, function: Any) -> Any:
        return function

    def compiled_whole(self, function: Any) -> Any:
        return function


class Jax(Framework):
    package = "jax"

    def __init__(self, threads: int) -> None:
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        self.jax = importlib.import_module("jax")
        from benchmarks.programs_jax import JaxPrograms

        self.programs = JaxPrograms()

    def tensor(self, array: np.ndarray, differentiable: bool = False) -> Any:
        return self.jax.numpy.asarray(array)

    def function(self, work: Callable[..., Any], options: dict[str, Any], tensors: dict[str, Any]) -> Call:
        jitted = self.jax.jit(lambda tensors: work(**tensors, **options))
        return lambda: jitted(tensors)

    def gradient(
        self, work: Callable[..., Any], options: dict[str, Any], tensors: dict[str, Any], wrt: Sequence[str]
    ) -> Call:
        @self.jax.jit
        def both(tensors: dict[str, Any], g: Any) -> Any:
            fixed = {name: t for name, t in tensors.items() if name not in wrt}
            _, back = self.jax.vjp(
                lambda chosen: work(**fixed, **chosen, **options), {n: tensors[n] for n in wrt}
            )
            (found,) = back(g)
            return [found[name] for name in wrt]

        g = tensors.pop("g")
        return lambda: both(tensors, g)

    def finish(self, outputs: Sequence[Any]) -> None:
        self.jax.block_until_ready(outputs)


class Tinygrad(Framework):
    package = "tinygrad"

    def __init__(self, threads: int) -> None:
        self.tinygrad = importlib.import_module("tinygrad")
        from benchmarks.programs_tinygrad import TinygradPrograms

        self.programs = TinygradPrograms()

    def tensor(self, array: np.ndarray, differentiable: bool = False) -> Any:
        made = self.tinygrad.Tensor(array)
        # a single number would be a constant, which TinyJit does not take
        return (made if array.ndim else made.clone()).realize()

    def _jitted(self, work: Callable[..., Any], tensors: dict[str, Any]) -> Call:
        jitted = self.tinygrad.TinyJit(work)
        return lambda: jitted(**tensors)

    def function(self, work: Callable[..., Any], options: dict[str, Any], tensors: dict[str, Any]) -> Call:
        return self._jitted(lambda **inputs: work(**inputs, **options).realize(), tensors)

    def gradient(
        self, work: Callable[..., Any], options: dict[str, Any], tensors: dict[str, Any], wrt: Sequence[str]
    ) -> Call:
        def both(g: Any, **inputs: Any) -> Any:
            found = work(**inputs, **options).gradient(*(inputs[name] for name in wrt), gradient=g)
            self.tinygrad.Tensor.realize(*found)
            return found

        return self._jitted(both, tensors)

    def finish(self, outputs: Sequence[Any]) -> None:
        self.tinygrad.Tensor.realize(*outputs)
        self.tinygrad.Device[self.tinygrad.Device.DEFAULT].synchronize()

    def numpy(self, output: Any) -> np.ndarray:
        return output.numpy()


# the first is compared with the others
COMPARED: dict[str, type[Framework]] = {
    "lazygrad": Lazygrad,
    "torch": Torch,
    "torch.compile": TorchCompile,
    "jax": Jax,
    "tinygrad": Tinygrad,
}
REFERENCES: dict[str, type[Framework]] = {"reference": Reference, "interpreter": Interpreter}
ALL = COMPARED | REFERENCES


def reference() -> str:
    """The reference that can run here."""
    return "reference" if Reference.installed() else "interpreter"
