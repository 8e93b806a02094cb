"""The table of the family: member, program, published number, ours."""

import re
from collections.abc import Callable, Iterable, Iterator

from examples.family import plots

Row = tuple[str, str, float | str]

HEADER = f"{'member':21} {'program':54} {'published':>20} {'ours':>20}"
FEWEST_DIGITS = 10  # the last ones of a longer number depend on the order of summing


def parts(published: str) -> tuple[str, float, int, int]:
    """The bound ("" where there is none), the number, its decimals and its exponent."""
    bound, mantissa, exponent = re.fullmatch(r"(<|>=|>|) *(-?[\d.]+)(?:e(.*))?", published).groups()
    decimals = len(mantissa.partition(".")[2])
    return bound, float(published.removeprefix(bound)), decimals, int(exponent or 0)


def agrees(published: str, ours: float | str) -> bool:
    """Whether our number is the published one: the same to its last digit, or to ten digits of a longer one;
    or on the right side of a bound such as "< 2.18". With nothing published ("") any number will do."""
    if isinstance(ours, str) or not published:
        return ours == published or not published
    bound, number, decimals, exponent = parts(published)
    if bound:
        return {"<": ours < number, ">": ours > number, ">=": ours >= number}[bound]
    last_digit = 10.0 ** (exponent - decimals)
    return abs(ours - number) <= max(0.51 * last_digit, abs(number) * 10.0**-FEWEST_DIGITS)


def shown(published: str, ours: float | str) -> str:
    """Our number with as many decimals as the published one, two more beside a bound."""
    if isinstance(ours, str):
        return "the same" if ours == published else ours
    if not published:
        return f"{ours:.5g}"
    bound, _, decimals, exponent = parts(published)
    decimals += bool(bound) * 2
    return f"{ours:.{decimals}{'e' if exponent else 'f'}}"


def lines(member: str, rows: Iterable[Row]) -> Iterator[str]:
    """A line for each row; one that is not as published says so."""
    for program, published, ours in rows:
        remark = "" if agrees(published, ours) else "  differs"
        yield f"{member:21} {program:54} {published:>20} {shown(published, ours):>20}{remark}"


def main(
    member: str,
    rows: Callable[[], Iterable[Row]],
    plot: Callable[[str], None] | None = None,
    losses: Callable[[], dict[str, Iterable[float]]] | None = None,
) -> None:
    """Print the table of one member; with `--plot [FILE]`, draw its training instead: by `plot`, or the
    numbers of each step that `losses` gives."""
    file = plots.file_asked_for(f"{member}.png")
    if file and plot:
        return plot(file)
    if file and losses:
        return plots.save(file, plots.curves(**{name: list(numbers) for name, numbers in losses().items()}))
    if file:
        raise SystemExit(f"{member} draws no training")
    print(HEADER)
    for line in lines(member, rows()):
        print(line, flush=True)
