"""Measure lazygrad beside its peers, and check every result: wrong values are printed as WRONG.

    python -m benchmarks                            every row, every framework that is installed
    python -m benchmarks forward "MLP 784"          a group of rows, and rows by a part of their name
    python -m benchmarks --peers torch,jax --rounds 3 --json results.json

Times are medians in milliseconds; the ratio is best peer / lazygrad: above 1, lazygrad is faster.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from benchmarks import report
from benchmarks.conductor import Conductor, Settings
from benchmarks.frameworks import COMPARED
from benchmarks.limits import measure, usable_cores
from benchmarks.rows import ROWS, chosen


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="groups of rows, or parts of their names; default: all")
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    parser.add_argument(
        "--peers", help=f"commas between: {', '.join(list(COMPARED)[1:])}; default: all installed"
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each framework in each row")
    parser.add_argument("--seconds", type=float, default=0.3, help="length of a turn; at least one call")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="cores that each framework gets")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds after which a call is given up")
    parser.add_argument("--json", metavar="FILE", help="write everything measured to a file")
    parser.add_argument("--no-limits", action="store_true", help="do not measure the machine first")
    options = parser.parse_args(arguments)
    unknown = [name for name in (options.peers or "").split(",") if name and name not in COMPARED]
    if unknown:
        parser.error(f"no such peer: {', '.join(unknown)}; there are {', '.join(list(COMPARED)[1:])}")
    if options.rounds < 1 or options.threads < 1:
        parser.error("--rounds and --threads begin at 1")
    try:
        options.rows = chosen(options.names)
    except ValueError as error:
        parser.error(str(error))
    return options


def present(wanted: Sequence[str]) -> list[str]:
    """lazygrad and those of the wanted peers that are installed; says which are not."""
    for name in wanted:
        if not COMPARED[name].installed():
            print(f"{name}: not installed, skipped")
    return ["lazygrad", *(name for name in wanted if name != "lazygrad" and COMPARED[name].installed())]


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    if options.list:
        print("\n".join(f"{row.group:12}{row.name}" for row in ROWS))
        return
    frameworks = present(options.peers.split(",") if options.peers else list(COMPARED)[1:])
    limits = None if options.no_limits else measure(options.threads)
    if limits:
        print("\n".join(limits.lines()))
    print(f"{options.rounds} rounds of {options.seconds:g} s, {options.threads} threads\n")
    print(report.header("median, ms", frameworks, *report.RATIOS), flush=True)
    results = []
    settings = Settings(frameworks, options.rounds, options.seconds, options.threads, options.limit)
    with Conductor(settings) as conductor:
        try:
            for row in options.rows:
                results.append(conductor.run(row))
                print("\n".join(report.result_lines(results[-1], frameworks)), flush=True)
        except KeyboardInterrupt:
            print("stopped: what follows is about the rows above", file=sys.stderr)
    print("\n".join(report.summary_lines(results, frameworks)))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(report.as_json(results, frameworks, limits), file, indent=1)


if __name__ == "__main__":
    main()
