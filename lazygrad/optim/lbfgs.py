"""L-BFGS: a quasi-Newton method that calls the closure several times in each step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError
from lazygrad.optim.optimizer import Optimizer
from lazygrad.optim.settings import checked_settings
from lazygrad.tensors import Tensor

# what a state keeps of the last iteration
_MEMORY = ("d", "t", "old_dirs", "old_stps", "ro", "H_diag", "prev_flat_grad", "prev_loss")
# where the line search stands: step, loss, gradient, derivative along the direction
Point = tuple[float, float, Any, float]


def _interpolated(one: Point, other: Point, bounds: tuple[float, float] | None = None) -> float:
    """The minimum of the cubic through two points with their derivatives, within bounds (those of the
    points)."""
    (x1, f1, _, g1), (x2, f2, _, g2) = one, other
    low, high = bounds or (min(x1, x2), max(x1, x2))
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2) if x1 != x2 else math.nan
    square = d1 * d1 - g1 * g2
    if not square >= 0:
        return (low + high) / 2.0
    d2 = math.sqrt(square)
    if x1 <= x2:
        below, part, place, width = g2 - g1 + 2 * d2, g2 + d2 - d1, x2, x2 - x1
    else:
        below, part, place, width = g1 - g2 + 2 * d2, g1 + d2 - d1, x1, x1 - x2
    found = place - width * (part / below) if below else math.nan
    return (low + high) / 2.0 if math.isnan(found) else min(max(found, low), high)


def _strong_wolfe(
    evaluate: Callable[[float], Point],
    start: Point,
    t: float,
    longest: float,
    tolerance_change: float,
    most: int,
) -> tuple[Point, int]:
    """A point with sufficient decrease and a small derivative (the strong Wolfe conditions), and the number
    of evaluations: first a bracket around it, then the bracket made smaller. `longest`: the direction's
    greatest element."""
    c1, c2 = 1e-4, 0.9
    _, f, _, gtd = start
    before, now = start, evaluate(t)
    evaluations, turns, done = 1, 0, False
    bracket: list[Point] = []
    while turns < most:
        if now[1] > f + c1 * now[0] * gtd or (turns > 1 and now[1] >= before[1]):
            bracket = [before, now]
            break
        if abs(now[3]) <= -c2 * gtd:
            bracket, done = [now], True
            break
        if now[3] >= 0:
            bracket = [before, now]
            break
        bounds = (now[0] + 0.01 * (now[0] - before[0]), now[0] * 10)
        t = _interpolated(before, now, bounds)
        before, now = now, evaluate(t)
        evaluations += 1
        turns += 1
    if turns == most:
        bracket = [start, now]
    slow = False
    low, high = (0, 1) if bracket[0][1] <= bracket[-1][1] else (1, 0)
    while not done and turns < most:
        width = abs(bracket[1][0] - bracket[0][0])
        if width * longest < tolerance_change:
            break
        t = _interpolated(bracket[0], bracket[1])
        first, last = sorted(point[0] for point in bracket)
        margin = 0.1 * (last - first)
        if min(last - t, t - first) < margin:
            # too near to an end, twice or beyond it: a tenth of the way from there
            if slow or t >= last or t <= first:
                t = last - margin if abs(t - last) < abs(t - first) else first + margin
                slow = False
            else:
                slow = True
        else:
            slow = False
        now = evaluate(t)
        evaluations += 1
        turns += 1
        if now[1] > f + c1 * now[0] * gtd or now[1] >= bracket[low][1]:
            bracket[high] = now
            low, high = (0, 1) if bracket[0][1] <= bracket[1][1] else (1, 0)
            continue
        if abs(now[3]) <= -c2 * gtd:
            done = True
        elif now[3] * (bracket[high][0] - bracket[low][0]) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = now
    return bracket[low if len(bracket) > 1 else 0], evaluations


class LBFGS(Optimizer):
    """L-BFGS with a fixed step, or with `line_search_fn="strong_wolfe"`. One group of parameters; `step`
    needs a closure, and reads losses and gradients."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
        super().__init__(params, checked_settings(locals()))
        if len(self.param_groups) != 1:
            raise ArgumentError("[optimizer] LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    def _gradient(self) -> Tensor:
        """All gradients as one vector."""
        return lazygrad.cat(
            [
                lazygrad.zeros_like(p).reshape(-1) if p.grad is None else p.grad.reshape(-1)
                for p in self._params
            ]
        ).detach()

    def _move(self, start: list[Tensor], step: float | Tensor, direction: Tensor) -> None:
        offset = 0
        for p, value in zip(self._params, start, strict=True):
            p.copy_(value + direction[offset : offset + p.numel()].view_as(p) * step)
            offset += p.numel()
        lazygrad.realize(*self._params)

    def _direction(self, state: dict[str, Any], memory: dict[str, Any], gradient: Tensor,
                   history_size: int) -> Tensor:
        """Where to go: minus the gradient times what the last steps tell of the inverse Hessian."""
        if state["n_iter"] == 1:
            memory.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return -gradient
        y, s = gradient - memory["prev_flat_grad"], memory["d"] * memory["t"]
        ys = y.dot(s)
        if float(ys) > 1e-10:
            for key, value in (("old_dirs", y), ("old_stps", s), ("ro", 1.0 / ys)):
                memory[key] = [*memory[key], value][-history_size:]
            memory["H_diag"] = ys / y.dot(y)
        steps = list(zip(memory["old_dirs"], memory["old_stps"], memory["ro"], strict=True))
        shares = state.setdefault("al", [None] * history_size)
        q = -gradient
        for i, (y, s, ro) in reversed(list(enumerate(steps))):
            shares[i] = s.dot(q) * ro
            q = (q - y * shares[i]).realize()
        r = q * memory["H_diag"]
        for i, (y, s, ro) in enumerate(steps):
            r = (r + s * (shares[i] - y.dot(r) * ro)).realize()
        return r

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Up to max_iter iterations; returns the loss before the first. `closure` evaluates the model and
        returns the loss."""
        with lazygrad.no_grad():
            return self._iterate(closure)

    def _iterate(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        lr, tolerance_grad, tolerance_change = (
            group["lr"].reshape(()) if isinstance(group["lr"], Tensor) else group["lr"],
            group["tolerance_grad"],
            group["tolerance_change"],
        )
        search = group["line_search_fn"]
        if search not in (None, "strong_wolfe"):
            raise ArgumentError("[optimizer] only 'strong_wolfe' is supported")
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        memory: dict[str, Any] = {key: state.get(key) for key in _MEMORY}

        def evaluate() -> tuple[Any, Tensor]:
            with lazygrad.enable_grad():
                loss = closure()
            return loss, self._gradient().realize()

        first, gradient = evaluate()
        loss, evaluations = float(first), 1
        state["func_evals"] += 1
        if float(gradient.abs().max()) <= tolerance_grad:
            return first
        for turn in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            d = memory["d"] = self._direction(state, memory, gradient, group["history_size"])
            memory["prev_flat_grad"], memory["prev_loss"] = gradient, loss
            t = min(1.0, 1.0 / gradient.abs().sum()) * lr if state["n_iter"] == 1 else lr
            memory["t"] = t
            slope = float(gradient.dot(d))
            if slope > -tolerance_change:
                break
            used, start = 0, [p.detach().clone() for p in self._params]
            lazygrad.realize(*start)
            if search is not None:

                def at(step: float, d: Tensor = d, start: list[Tensor] = start) -> Point:
                    self._move(start, step, d)
                    value, g = evaluate()
                    return step, float(value), g, float(g.dot(d))

                found, used = _strong_wolfe(
                    at,
                    (0.0, loss, gradient, slope),
                    float(t),
                    float(d.abs().max()),
                    1e-9,
                    group["max_eval"] - evaluations,
                )
                length, loss, gradient, _ = found
                t = t if float(t) == length else length
                memory["t"] = t
                self._move(start, t, d)
            else:
                self._move(start, t, d)
                if turn != group["max_iter"]:
                    value, gradient = evaluate()
                    loss, used = float(value), 1
            evaluations += used
            state["func_evals"] += used
            if (
                turn == group["max_iter"]
                or evaluations >= group["max_eval"]
                or float(gradient.abs().max()) <= tolerance_grad
                or float(d.abs().max()) * abs(float(t)) <= tolerance_change
                or abs(loss - memory["prev_loss"]) < tolerance_change
            ):
                break
        state.update(memory)
        return first
