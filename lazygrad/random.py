"""PyTorch's `random` namespace: seeds and states of the default generator."""

from lazygrad.tensors import FUNCTIONS
from lazygrad.tensors.random.generator import default_generator

fork_rng = FUNCTIONS["fork_rng"]
get_rng_state = FUNCTIONS["get_rng_state"]
initial_seed = FUNCTIONS["initial_seed"]
manual_seed = FUNCTIONS["manual_seed"]
seed = FUNCTIONS["seed"]
set_rng_state = FUNCTIONS["set_rng_state"]

__all__ = [
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
]
