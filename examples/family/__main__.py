"""All programs of the family, or those that are named, as one table.

    python -m examples.family
    python -m examples.family micrograd backprop
"""

import sys
from importlib import import_module

from examples.family import MEMBERS
from examples.family.report import HEADER, lines


def main(names):
    unknown = set(names) - set(MEMBERS)
    if unknown:
        raise SystemExit(f"no such member: {', '.join(sorted(unknown))}; there are {', '.join(MEMBERS)}")
    print(HEADER)
    for name in names or MEMBERS:
        for line in lines(name, import_module(f"examples.family.{name}").rows()):
            print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
