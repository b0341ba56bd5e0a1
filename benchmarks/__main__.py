"""``python -m benchmarks``: measures everything, interleaved, and prints it with its bars."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from . import npm, report
from .model import Context
from .rows import ROWS
from .running import measure
from .table import as_json, block


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="so many times the usual counts")
    parser.add_argument("--side", action="append", default=[], help="only this one (repeatable)")
    parser.add_argument("--no-node", action="store_true", help="without what needs npm")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--plots", type=Path, help="draw the plots into that directory")
    parser.add_argument(
        "--write", action="store_true", help="write results/, the plots, and README.rst's table"
    )
    options = parser.parse_args()
    unknown = set(options.rows) - set(ROWS)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    context = Context(scale=options.scale, packages=None if options.no_node else npm.packages())
    figures, load = {}, []
    for key in options.rows or ROWS:
        began = time.monotonic()
        load.append(round(os.getloadavg()[0], 1))
        measured = measure(ROWS[key], options.rounds, context, frozenset(options.side))
        figures[key] = {
            **as_json(measured),
            "rounds": ROWS[key].rounds or options.rounds,
            "load_before": load[-1],
        }
        print(block(key, figures[key]))
        took = time.monotonic() - began
        print(f"  {took:.0f} s, load average before it {load[-1]}\n", flush=True)
    whole = report.document(figures, context.packages, load)
    if options.json:
        options.json.write_text(json.dumps(whole, indent=1) + "\n")
    if options.plots:
        report.draw(whole, options.plots)
    if options.write:
        report.write(whole)


if __name__ == "__main__":
    main()
