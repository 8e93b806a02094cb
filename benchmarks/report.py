"""Results as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, log
from typing import Any

from benchmarks.conductor import Measurement, Result
from benchmarks.limits import Limits
from benchmarks.rows import GROUPS

NAME_WIDTH = 48
CELL_WIDTH = 14
RATIOS = ("ratio", "of fastest", "least-most")
DIGITS = ((0, 100.0), (1, 10.0), (2, 1.0), (3, 0.01), (4, 0.0))  # behind the point, from a value on


def number(value: float | None) -> str:
    """Three digits that matter, without an exponent."""
    if value is None:
        return ""
    return f"{value:.{next(digits for digits, least in DIGITS if value >= least)}f}"


def table_line(name: str, cells: Sequence[str]) -> str:
    return f"{name:{NAME_WIDTH}}" + "".join(f"{cell:>{CELL_WIDTH}}" for cell in cells)


def cell(m: Measurement | None, value: Callable[[Measurement], float | None]) -> str:
    if m is None:
        return "-"
    return "failed" if m.failed else "WRONG" if m.wrong else number(value(m))


def header(title: str, frameworks: Sequence[str], *more: str) -> str:
    return table_line(title, [*frameworks, *more])


def result_lines(result: Result, frameworks: Sequence[str]) -> list[str]:
    """A row: the median of each framework, the ratios of RATIOS; then what went wrong."""
    cells = [cell(result.measurements.get(name), lambda m: m.ms) for name in frameworks]
    ratio, spread = result.ratio, result.ratio_range
    cells += [f"{r:.2f}" if r else "" for r in (ratio, result.ratio_of_fastest)]
    cells.append(f"{spread[0]:.2f}-{spread[1]:.2f}" if spread else "")
    lines = [table_line(result.row.name, cells)]
    for name, m in result.measurements.items():
        if m.failed:
            lines.append(f"    {name} failed: {m.failed}")
        elif m.wrong:
            lines.append(
                f"    {name} WRONG: {number(m.error)} times the tolerance from the reference,"
                f" after {number(m.ms)} ms"
            )
    return lines


def summary_lines(results: Sequence[Result], frameworks: Sequence[str]) -> list[str]:
    """First calls and memory of every row, and geometric means of the ratios."""
    lines = []
    parts: list[tuple[str, Callable[[Measurement], float | None]]] = [
        ("first call, ms", lambda m: m.first_ms),
        ("peak memory, MB", lambda m: m.peak_mb),
    ]
    for title, value in parts:
        lines += ["", header(title, frameworks)]
        for result in results:
            cells = [cell(result.measurements.get(name), value) for name in frameworks]
            lines.append(table_line(result.row.name, cells))
    lines += ["", "geometric mean of best peer / lazygrad"]
    for group in (*GROUPS, "all"):
        ratios = [r.ratio for r in results if r.ratio and group in ("all", r.row.group)]
        if ratios:
            mean, least = geometric_mean(ratios), min(ratios)
            lines.append(f"    {group}: {mean:.2f} of {len(ratios)} rows, least {least:.2f}")
    mine = [r.measurements["lazygrad"] for r in results if "lazygrad" in r.measurements]
    unfit = sum(m.wrong or bool(m.failed) for m in mine)
    lines.append(f"    rows in which lazygrad is wrong or fails: {unfit}")
    return lines


def geometric_mean(values: Sequence[float]) -> float:
    return exp(sum(log(value) for value in values) / len(values))


def as_json(results: Sequence[Result], frameworks: Sequence[str], limits: Limits | None) -> dict[str, Any]:
    """Everything that was measured, with every sample."""
    return {
        "machine": vars(limits) if limits else None,
        "frameworks": list(frameworks),
        "rows": [
            {
                "name": r.row.name,
                "group": r.row.group,
                "ratio": r.ratio,
                "ratio_of_fastest": r.ratio_of_fastest,
                "ratio_range": r.ratio_range,
                "best_peer": r.best_peer,
                "frameworks": {
                    n: vars(m) | {"ms": m.ms, "wrong": m.wrong} for n, m in r.measurements.items()
                },
            }
            for r in results
        ],
    }
