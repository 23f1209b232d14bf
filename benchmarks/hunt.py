"""Hunt for faults: models drawn at random, analysed, and compared with real runs that an observer of its own counts.

    python benchmarks/hunt.py --minutes 60 --seed 1

Each fault is cut down to the smallest program that still shows it, and printed as Python text. Faults that look alike
are printed once. `--replay SEED` draws one program again.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.differential.comparing import faults
from tests.differential.programs import Program, draw, smaller


class Drawn:
    """Decides by a random generator."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def choice(self, options: Sequence[Any]) -> Any:
        """One of these."""
        return self._random.choice(options)

    def number(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return self._random.randint(low, high)


def kind_of(fault: str) -> str:
    """A fault without its numbers and names: what tells it from others."""
    return re.sub(r"\b[vmxbpc]\d+|\d+|\(.*?\)|^(auto|concrete): ", "", fault.partition("\n")[0])[:150]


def shows(program: Program, kind: str, train: bool) -> bool:
    """True if a program has a fault of this kind."""
    try:
        return any(kind_of(fault) == kind for fault in faults(program.build, train, program.exact))
    except Exception:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the first program")
    parser.add_argument("--length", type=int, default=8, help="statements of a program")
    parser.add_argument("--train", action="store_true", help="compare training steps too")
    parser.add_argument("--counts", action="store_true", help="only count faults, without cutting programs down")
    parser.add_argument("--replay", type=int, help="draw this program only, and print it")
    options = parser.parse_args()
    if options.replay is not None:
        program = draw(Drawn(options.replay), options.length)
        print(program.source, *faults(program.build, options.train, program.exact), sep="\n")
        return
    end, seed, found = time.monotonic() + 60 * options.minutes, options.seed, Counter[str]()
    while time.monotonic() < end:
        program = draw(Drawn(seed), options.length)
        for fault in list(faults(program.build, options.train, program.exact)):
            kind = kind_of(fault)
            found[kind] += 1
            if found[kind] == 1 and not options.counts:
                least = smaller(program, partial(shows, kind=kind, train=options.train))
                print(f"---- seed {seed}\n{least.source[least.source.index('class Model') :]}", flush=True)
                print(*faults(least.build, options.train, least.exact), sep="\n", flush=True)
        seed += 1
    print(f"{seed - options.seed} programs; faults by kind:")
    for kind, times in found.most_common():
        print(f"{times:6} {kind}")


if __name__ == "__main__":
    main()
