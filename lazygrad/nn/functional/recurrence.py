"""Recurrences: one mechanism for RNN, LSTM and GRU, over steps, directions and layers.

What a step needs of the input alone is computed for all steps in one product; a step then adds what it needs
of the state before it. Sequences of several lengths run side by side: one that has ended keeps its state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import lazygrad
from lazygrad import ops
from lazygrad.nn.functional.dropout import dropout
from lazygrad.tensors import Tensor
from lazygrad.tensors.core import apply

State = tuple[Tensor, ...]
# (gates of the input, gates of the hidden state, state before) -> state after, the hidden state first
Cell = Callable[[Tensor, Tensor, State], State]


def _tanh(x: Tensor, h: Tensor, state: State) -> State:
    return ((x + h).tanh(),)


def _relu(x: Tensor, h: Tensor, state: State) -> State:
    return ((x + h).relu(),)


def _lstm(x: Tensor, h: Tensor, state: State) -> State:
    enter, forget, new, leave = (x + h).chunk(4, -1)
    cell = forget.sigmoid() * state[1] + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * cell.tanh(), cell


def _gru(x: Tensor, h: Tensor, state: State) -> State:
    (xr, xz, xn), (hr, hz, hn) = x.chunk(3, -1), h.chunk(3, -1)
    new = (xn + (xr + hr).sigmoid() * hn).tanh()
    return ((state[0] - new) * (xz + hz).sigmoid() + new,)


@dataclass(frozen=True)
class Mode:
    """A kind of recurrence: its cell, how many gates it has, and how many tensors its state."""

    cell: Cell
    gates: int
    states: int = 1


MODES = {
    "RNN_TANH": Mode(_tanh, 1),
    "RNN_RELU": Mode(_relu, 1),
    "LSTM": Mode(_lstm, 4, 2),
    "GRU": Mode(_gru, 3),
}


@dataclass(frozen=True)
class Weights:
    """The weights of one layer in one direction; biases may be None, `hr` projects hidden states."""

    ih: Tensor
    hh: Tensor
    bias_ih: Tensor | None = None
    bias_hh: Tensor | None = None
    hr: Tensor | None = None

    def to(self, dtype: Any) -> Weights:
        """The weights in another type."""
        parts = (self.ih, self.hh, self.bias_ih, self.bias_hh, self.hr)
        return Weights(*(None if w is None else w.to(dtype) for w in parts))  # type: ignore[arg-type]


def step(mode: Mode, input: Tensor, state: State, weights: Weights) -> State:
    """The state after one step from an input (N, input_size)."""
    x = lazygrad.linear(input, weights.ih, weights.bias_ih)
    return mode.cell(x, lazygrad.linear(state[0], weights.hh, weights.bias_hh), state)


LONG = 16  # steps from which on parts are found by numbers that are data
_numbers: dict[tuple[int, str], Tensor] = {}


def _number(t: int, device: Any) -> Tensor:
    """The number of a step in memory of its own: steps that differ in it alone are one kernel."""
    key = t, str(device)
    if key not in _numbers:
        _numbers[key] = lazygrad.tensor([t], dtype=lazygrad.int64, device=device).realize()
    return _numbers[key]


def _parts(x: Tensor) -> Sequence[Tensor]:
    """x[0], x[1], ... of many steps, each read by a number in memory; gradients flow as through unbind."""
    parts = x.unbind(0)
    if len(parts) <= LONG:
        return parts
    found = [x.detach().index_select(0, _number(t, x.device)).squeeze(0) for t in range(len(parts))]
    if not x.requires_grad:
        return found
    return [apply("unbind", ops.surrogate, value, part) for value, part in zip(found, parts, strict=True)]


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    """Parts along a new first axis; the gradient of each is read by a number in memory."""
    if len(parts) <= LONG or not any(part.requires_grad for part in parts):
        return lazygrad.stack(list(parts))
    result = lazygrad.stack([part.detach() for part in parts])
    nothing = lazygrad.zeros_like(result)
    # a sum that is never computed: its derivative is what is wanted of it
    placed: Any = 0
    for t, part in enumerate(parts):
        placed = nothing.index_add(0, _number(t, result.device), part.unsqueeze(0)) + placed
    return apply("stack", ops.surrogate, result, placed)


def run(
    mode: Mode, input: Tensor, state: State, weights: Weights, alive: Sequence[Tensor] | None, backwards: bool
) -> tuple[Tensor, State]:
    """Hidden states (T, N, hidden) and the last state of one layer in one direction.

    input (T, N, input_size); `alive`: for each step which sequences have not ended, (N, 1) bool.
    """
    gates = _parts(lazygrad.linear(input, weights.ih, weights.bias_ih))
    bias: Sequence[Tensor | None] = [None] * len(gates)
    if weights.bias_hh is not None:
        # one reading for every step, so that the bias's gradient is one sum
        bias = weights.bias_hh.expand(len(gates), *gates[0].shape).unbind(0)
    outputs: list[Tensor] = []
    for t in reversed(range(len(gates))) if backwards else range(len(gates)):
        h = lazygrad.linear(state[0], weights.hh)
        after = mode.cell(gates[t], h if bias[t] is None else h + bias[t], state)
        if weights.hr is not None:
            after = (lazygrad.linear(after[0], weights.hr), *after[1:])
        state = (
            after
            if alive is None
            else tuple(lazygrad.where(alive[t], new, old) for new, old in zip(after, state, strict=True))
        )
        outputs.append(state[0])
        if len(outputs) % LONG == 0 and not state[0].requires_grad:
            # one plan after the other, all the same, where no gradient will want the whole
            lazygrad.realize(*outputs[-LONG:], *state)
    return _stacked(outputs[::-1] if backwards else outputs), state


def run_layers(
    mode: Mode,
    input: Tensor,
    state: State,
    weights: Sequence[Sequence[Weights]],
    alive: Sequence[Tensor] | None,
    dropout_p: float,
) -> tuple[Tensor, State]:
    """Hidden states (T, N, directions * hidden) of the last layer and the last states of all.

    `weights`: for each layer, those of each direction (the second reads backwards); `state`: tensors
    (layers * directions, N, size), as the last states. Dropout acts between layers.
    """
    last: list[State] = []
    for layer, directions in enumerate(weights):
        if layer:
            input = dropout(input, dropout_p)
        outputs = []
        for direction, own in enumerate(directions):
            first = tuple(s[len(last)] for s in state)
            output, after = run(mode, input, first, own, alive, direction == 1)
            outputs.append(output)
            last.append(after)
        input = outputs[0] if len(outputs) == 1 else lazygrad.cat(outputs, -1)
    return input, tuple(lazygrad.stack(parts) for parts in zip(*last, strict=True))
