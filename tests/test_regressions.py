"""Programs that once gave wrong values or failed, each with what was wrong; they run in every mode."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import COMPILING
from random_programs import Program, Step, check_modes, check_pytorch

import lazygrad
from lazygrad import engine


def leaf(*shape: int, dtype: str = "float32", kind: str = "plain", seed: int = 0, grad: bool = False) -> Step:
    return Step("leaf", (), (shape, dtype, kind, seed, grad))


def program(*steps: Step, keep: tuple[int, ...] | None = None, error: float = 0.0) -> Program:
    """Steps whose last value is read, or those of `keep`."""
    return Program(steps, tuple((i, error) for i in keep or (len(steps) - 1,)))


PROGRAMS = {
    "a matrix is not overwritten while its transpose is read": program(
        leaf(2, 2), leaf(), Step("einsum", (0, 1), ("ij,->ji",))
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("mode", ["CPU", "CPU NOOPT", "CL", "CL NOOPT"])
def test_program(name: str, mode: str) -> None:
    if mode.partition(" ")[0] not in COMPILING:
        pytest.skip("no OpenCL platform")
    check_modes(PROGRAMS[name], mode)


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_beside_pytorch(name: str) -> None:
    assert check_pytorch(PROGRAMS[name], pytest.importorskip("torch"))


def test_numbers_alone_on_two_devices() -> None:
    """A graph without buffers is the same node on every device, and has a value on each."""
    if "CL" not in COMPILING:
        pytest.skip("no OpenCL platform")
    on_cpu, on_cl = (lazygrad.arange(5, device=name) * 2 for name in ("CPU", "CL"))
    assert on_cpu.tolist() == [0, 2, 4, 6, 8]
    assert (on_cl + lazygrad.ones(5, dtype=lazygrad.int64, device="CL")).tolist() == [1, 3, 5, 7, 9]
    assert (lazygrad.arange(5, device="NUMPY") * 2 + 1).tolist() == [1, 3, 5, 7, 9]


@pytest.mark.parametrize("name", COMPILING)
def test_two_updates_in_one_kernel_swap_no_memory(name: str) -> None:
    """A donated buffer was given to an output whose kernel then read it for another output."""

    def biases_after_a_step() -> list[float]:
        first, second = lazygrad.nn.Linear(4, 16), lazygrad.nn.Linear(4, 16)
        parameters = [*first.parameters(), *second.parameters()]
        for i, parameter in enumerate(parameters):
            parameter.data = lazygrad.full(parameter.shape, 0.25 * i)
        x = lazygrad.ones(10, 4)
        lazygrad.realize(x, *parameters)
        loss = (lazygrad.exp(second(x)) * first(x)).sum()
        loss.backward()
        lazygrad.optim.SGD(parameters, lr=0.5).step()
        loss.item()
        return first.bias.tolist() + second.bias.tolist()

    with lazygrad.config.override(DEVICE="NUMPY"):
        expected = biases_after_a_step()
    with lazygrad.config.override(DEVICE=name):
        assert biases_after_a_step() == pytest.approx(expected, rel=1e-4)


def test_a_plan_whose_source_was_a_slice(compiling_device: str) -> None:
    """A plan made for a small result, a slice of memory, serves a value that has memory of its own."""
    x = lazygrad.tensor([2.0], device=compiling_device)
    first, _second = x * 3, x + 1
    assert first.item() == 6
    assert (first * 0.75).item() == 4.5
    assert (lazygrad.tensor([8.0], device=compiling_device) * 0.75).item() == 6


@pytest.mark.parametrize("copied", [
    lambda x: x[2:5].clone(), lambda x: x[1] * 1, lambda x: x[3:].contiguous() + 0,
])
def test_memory_of_which_a_result_is_a_part_is_not_written_over(copied, device: str) -> None:
    """A copy of neighbours is a part of their memory, as long as nobody writes there: x was written in place,
    and the copy with it."""
    x = (lazygrad.arange(8, device=device) * 3.0).realize()
    part = copied(x)
    part.realize()
    expected = part.tolist()
    for _ in range(3):
        x *= 2
        x.realize()
    assert part.tolist() == expected


def test_a_training_step_has_one_plan() -> None:
    """Memory that took a donated result was not donated again: steps alternated between plans."""
    with lazygrad.config.override(DEVICE="CPU"):
        layer = lazygrad.nn.Linear(24, 12)
        optimizer = lazygrad.optim.Adam(layer.parameters(), lr=0.1)
        x = lazygrad.randn(5, 24)
        plans = []
        for _ in range(6):
            loss = layer(x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            plans.append(len(engine._plans))
        assert plans[2:] == plans[2:3] * 4, plans


def test_masked_stores_of_16_bits_leave_their_neighbours_alone():
    # rows of 17 end in a store under a mask; another core writes what follows
    x = lazygrad.tensor(np.random.default_rng(0).standard_normal((4096, 17)).astype(np.float32)).realize()
    weights = x.softmax(1)
    expected = weights.to(lazygrad.bfloat16).to("NUMPY").float().numpy()
    for _ in range(30):
        got = x.softmax(1).to(lazygrad.bfloat16).float().numpy()
        np.testing.assert_allclose(got, expected, rtol=1e-2)


@pytest.mark.parametrize("device", COMPILING)
def test_an_index_read_first_where_it_is_repeated_is_known_outside_too(device):
    # the index was taken to depend on the loop that the repetition runs over, and what it reads stayed inside
    rng = np.random.default_rng(0)
    where, table, column = np.array([0, 0, 1, 0, 1]), rng.standard_normal((2, 8)), rng.standard_normal((2, 1))
    x, w = rng.standard_normal((5, 1)), rng.standard_normal((5, 8))
    with lazygrad.config.override(DEVICE=device):
        i, t, c, a, b = (lazygrad.tensor(v).realize() for v in (where, table, column, x, w))
        inner = (a * 2 + c[i]) * a
        outer = lazygrad.gather(t, 0, i.view(-1, 1).expand(5, 8)) * b + inner * b
        lazygrad.realize(outer, inner)
        expected = (x * 2 + column[where]) * x
        np.testing.assert_allclose(inner.numpy(), expected)
        np.testing.assert_allclose(outer.numpy(), table[where] * w + expected * w)


def test_parts_whose_loops_have_other_lengths():
    """Grids of several sizes put one after the other: what divides one's rows does not divide the other's."""
    pieces, want = [], []
    for i, n in enumerate((12, 6, 3, 2, 1)):
        base = np.random.default_rng(i).random((1, 4))
        y, x = (v.reshape(-1) * 8 * 2**i for v in np.indices((n, n)))
        want.append(np.stack((x, y, x, y), 1) + base)
        step = lazygrad.arange(n, dtype=lazygrad.int32) * 8 * 2**i
        rows, columns = (v.reshape(-1) for v in lazygrad.meshgrid(step, step, indexing="ij"))
        shifts = lazygrad.stack((columns, rows, columns, rows), 1)
        pieces.append((shifts.view(-1, 1, 4) + lazygrad.tensor(base).view(1, -1, 4)).reshape(-1, 4))
    np.testing.assert_allclose(lazygrad.cat(pieces).numpy(), np.concatenate(want))
