"""Matrices that the tests of linear algebra start from: any, positive definite, and far from singular."""

import numpy as np


def matrix(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def positive(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    x = matrix(shape, seed)
    return x @ x.swapaxes(-1, -2) + np.eye(shape[-1])


def regular(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return matrix(shape, seed) + 3 * np.eye(shape[-2], shape[-1])
