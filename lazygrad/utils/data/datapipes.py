"""Data pipes, which are datasets with methods that others register, and what PyTorch keeps beside them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lazygrad.utils.data.dataset import Dataset, IterableDataset


def _with(pipe: Any, functions: dict[str, Callable[..., Any]], name: str) -> Any:
    if name in functions:
        return functools.partial(functions[name], pipe)
    raise AttributeError(f"'{type(pipe).__name__}' object has no attribute '{name}'")


class IterDataPipe(IterableDataset):
    """A dataset that is iterated; `functional_datapipe` gives all of them a method."""

    functions: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return _with(self, IterDataPipe.functions, name)

    @classmethod
    def register_datapipe_as_function(cls, function_name: str, cls_to_register: Any,
                                      enable_df_api_tracing: bool = False) -> None:
        """Let `pipe.function_name(*args)` be `cls_to_register(pipe, *args)`."""
        cls.functions[function_name] = cls_to_register


class MapDataPipe(Dataset):
    """A dataset that is indexed; `functional_datapipe` gives all of them a method."""

    functions: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return _with(self, MapDataPipe.functions, name)

    @classmethod
    def register_datapipe_as_function(cls, function_name: str, cls_to_register: Any) -> None:
        """Let `pipe.function_name(*args)` be `cls_to_register(pipe, *args)`."""
        cls.functions[function_name] = cls_to_register


class functional_datapipe:
    """A decorator of pipes that makes them methods of the other pipes of their kind."""

    def __init__(self, name: str, enable_df_api_tracing: bool = False):
        self.name = name

    def __call__(self, cls: Any) -> Any:
        """The class, registered."""
        kind = IterDataPipe if issubclass(cls, IterDataPipe) else MapDataPipe
        kind.register_datapipe_as_function(self.name, cls)
        return cls


class _DatasetKind:
    """How a DataLoader reads a dataset."""

    Map, Iterable = 0, 1


class guaranteed_datapipes_determinism:
    """A block in which pipes would be deterministic."""

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, *_: object) -> None:
        """Nothing to do."""


def argument_validation(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function: arguments are not checked by their annotations."""
    return function


runtime_validation = non_deterministic = argument_validation
