"""How large a fleet may be: a model of 1,000 to 100,000 workers, fitted to runs of this machine.

::

    python -m benchmarks.fleet_model             # table, from results/fleet_model.json
    python -m benchmarks.fleet_model --measure   # runs 4 to 32 workers first
    python -m benchmarks.fleet_model --write     # results/fleet_model.txt and .svg

What a worker costs Redis does not depend on how many there are, so each figure is a straight
line: so much for the owner, so much for each worker, so much for each push to each worker. The
lines are laid through the small runs; the largest, left out, says how far they are off. From some
hundred pushes a second on several come in one entry, and cost less each: that is not modelled.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")
SIZES = (4, 8, 16, 32)
RATE = 5  # pushes a second in the loaded half of a run: each is an entry, read by itself
SPAN_S = 6.0
EACH = 8  # workers in a process
# What one redis-server and its network give, and Redis's defaults.
CORE_US, NET_BYTES, CLIENTS = 0.7e6, 10e9 / 8 * 0.7, 10_000
CONNECTIONS = 2  # of a worker: one reads, one writes
POLLS = 10  # a second: how often each candidate looks at the lease
BEGIN_COMMANDS = 12  # of a worker that comes back, by INFO commandstats
FIGURES = ("out_bytes", "in_bytes", "commands", "cpu_us", "memory")


@dataclass
class Sample:
    """A second of Redis with so many workers. ``pushes``: a second, to all of them."""

    workers: int
    pushes: float
    out_bytes: float
    in_bytes: float
    commands: float
    cpu_us: float
    memory: float


@dataclass
class Line:
    base: float
    each: float  # of a worker
    pushed: float  # of a push to a worker

    def at(self, workers: int, pushes: float) -> float:
        return max(self.base + workers * (self.each + pushes * self.pushed), 0.0)


def fit(samples: list[Sample], figure: str) -> Line:
    """Least squares of ``base + workers * each + workers * pushes * pushed``."""
    rows = [(1.0, float(one.workers), one.workers * one.pushes) for one in samples]
    values = [float(getattr(one, figure)) for one in samples]
    # Relative errors count: a run of 8 says as much as one of 32.
    weights = [1 / max(value, 1e-9) ** 2 for value in values]
    system = [
        [sum(w * row[i] * row[j] for w, row in zip(weights, rows, strict=True)) for j in range(3)]
        + [sum(w * row[i] * v for w, row, v in zip(weights, rows, values, strict=True))]
        for i in range(3)
    ]
    return Line(*solve(system))


def solve(system: list[list[float]]) -> list[float]:
    """Gauss, with the largest pivot; a column that says nothing counts nothing."""
    size = len(system)
    for i in range(size):
        best = max(range(i, size), key=lambda row: abs(system[row][i]))
        system[i], system[best] = system[best], system[i]
        if abs(system[i][i]) < 1e-12:
            continue
        for row in range(size):
            if row != i:
                part = system[row][i] / system[i][i]
                system[row] = [a - part * b for a, b in zip(system[row], system[i], strict=True)]
    return [
        system[i][size] / system[i][i] if abs(system[i][i]) >= 1e-12 else 0.0 for i in range(size)
    ]


@dataclass
class Model:
    lines: dict[str, Line]

    @classmethod
    def of(cls, samples: list[Sample]) -> Model:
        return cls({figure: fit(samples, figure) for figure in FIGURES})

    def at(self, workers: int, pushes: float) -> dict[str, float]:
        return {figure: line.at(workers, pushes) for figure, line in self.lines.items()}

    def fleets(self, workers: int, pushes: float) -> tuple[int, str]:
        """How many fleets, each with a redis-server of its own, and what wants that many."""
        needed = {
            "CPU": self._shards(workers, pushes, "cpu_us", CORE_US),
            "network": self._shards(workers, pushes, "out_bytes", NET_BYTES),
            "maxclients": math.ceil(workers * CONNECTIONS / (CLIENTS - 100)),
        }
        why = max(needed, key=lambda name: needed[name])
        return needed[why], why if needed[why] > 1 else ""

    def _shards(self, workers: int, pushes: float, figure: str, limit: float) -> int:
        line = self.lines[figure]
        room = limit - max(line.base, 0.0)
        each = max(line.each + pushes * line.pushed, 1e-9)
        return max(math.ceil(workers * each / room), 1)

    def errors(self, held_out: list[Sample]) -> dict[str, float]:
        """The worst, relative, of each figure."""
        return {
            figure: max(
                abs(self.lines[figure].at(one.workers, one.pushes) / getattr(one, figure) - 1)
                for one in held_out
            )
            for figure in FIGURES
        }

    def herd_s(self, workers: int) -> float:
        """How long Redis is busy with workers that all come back at once."""
        per_command = self.lines["cpu_us"].each / max(self.lines["commands"].each, 1e-9)
        return workers * BEGIN_COMMANDS * per_command / 1e6


# -- measuring ------------------------------------------------------------------------------
def measured(workers: int) -> list[Sample]:
    """One second without pushes and one with, averaged over SPAN_S."""
    from .fleeting import CLIENT, running, stage, until

    with contextlib.ExitStack() as opened:
        made = opened.enter_context(stage())
        told = made.job(kind="stay", workers=min(EACH, workers))
        crowd = [
            opened.enter_context(running([*CLIENT, told])) for _ in range(workers // EACH or 1)
        ]
        for one in crowd:
            until(one, "ready")
        return [observe(made, workers, rate) for rate in (0, RATE)]


def observe(made: Any, workers: int, rate: int) -> Sample:
    import redis

    from .fleeting import drum

    with redis.Redis(port=made.redis_port) as client:
        before, began = client.info(), time.monotonic()
        drum(made.gateway, int(SPAN_S * rate), rate) if rate else time.sleep(SPAN_S)
        after, took = client.info(), time.monotonic() - began

    def a_second(name: str) -> float:
        return float(after[name] - before[name]) / took

    return Sample(
        workers=workers,
        pushes=rate,
        out_bytes=a_second("total_net_output_bytes"),
        in_bytes=a_second("total_net_input_bytes"),
        commands=a_second("total_commands_processed"),
        cpu_us=(a_second("used_cpu_user") + a_second("used_cpu_sys")) * 1e6,
        memory=float(after["used_memory"]),
    )


# -- what is shown ----------------------------------------------------------------------------
def load() -> list[Sample]:
    return [Sample(**one) for one in json.loads((RESULTS / "fleet_model.json").read_text("utf-8"))]


def split(samples: list[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Those that the model is fitted to, and the largest run, which checks it."""
    largest = max(one.workers for one in samples)
    small = [one for one in samples if one.workers < largest]
    return small, [one for one in samples if one.workers == largest]


def table(samples: list[Sample]) -> str:
    small, large = split(samples)
    model = Model.of(small)
    lines = [
        f"One redis-server, one owner; fitted to {sorted({one.workers for one in small})} workers.",
        f"{'workers':>8} {'pushes/s':>8} {'out MB/s':>9} {'in MB/s':>8} {'commands/s':>10} "
        f"{'CPU cores':>9} {'memory MB':>9} {'all back s':>10} {'fleets':>6}",
    ]
    for workers in (1000, 10_000, 100_000):
        for pushes in (0, 1, 10, 100):
            at = model.at(workers, pushes)
            fleets, why = model.fleets(workers, pushes)
            lines.append(
                f"{workers:8,} {pushes:8,} {at['out_bytes'] / 1e6:9.1f} "
                f"{at['in_bytes'] / 1e6:8.1f} "
                f"{at['commands']:10,.0f} {at['cpu_us'] / 1e6:9.2f} {at['memory'] / 1e6:9.1f} "
                f"{model.herd_s(workers):10.2f} {fleets:6} {why}".rstrip()
            )
    lines.append(f"Candidates for owner: {POLLS} looks a second each; 100 of them are "
                 f"{100 * POLLS:,} scripts a second, and one of them dials.")  # fmt: skip
    words = ", ".join(f"{name} {part:.0%}" for name, part in model.errors(large).items())
    lines.append(f"Off at {large[0].workers} workers, which was not fitted: {words}.")
    return "\n".join(lines) + "\n"


def plot(samples: list[Sample]) -> str:
    """Redis's CPU by workers, a line for each rate of pushes; the measured ones as dots."""
    from .plots import STYLE

    model = Model.of(split(samples)[0])
    width, height, left, bottom = 760, 380, 70, 330

    def x(workers: float) -> float:
        return left + math.log10(workers / 8) / math.log10(100_000 / 8) * (width - left - 110)

    def y(cores: float) -> float:
        return bottom - (math.log10(max(cores, 1e-3)) + 3) / 6 * (bottom - 60)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>Redis's CPU by workers of a fleet</title><style>{STYLE}</style>",
        '<text class="title" x="8" y="20">Redis\'s CPU by workers of a fleet, in cores</text>',
        '<text x="8" y="40">lines: model; dots: measured; both axes logarithmic</text>',
    ]
    for power in range(-3, 4):
        at = y(10.0**power)
        parts.append(f'<line class="grid" x1="{left}" x2="{width - 110}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{left - 8}" y="{at + 4}" text-anchor="end">{10.0**power:g}</text>')
    for workers in (10, 100, 1000, 10_000, 100_000):
        parts.append(f'<text x="{x(workers):.0f}" y="{bottom + 20}">{workers:,}</text>')
    for pushes in (0, 1, 10, 100):
        sizes = [8 * 1.1**n for n in range(100) if 8 * 1.1**n <= 100_000]
        dots = [(x(n), y(model.lines["cpu_us"].at(int(n), pushes) / 1e6)) for n in sizes]
        drawn = " ".join(f"{a:.1f},{b:.1f}" for a, b in dots)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="#1f9d5c"/>')
        parts.append(f'<text x="{dots[-1][0] + 6:.0f}" y="{dots[-1][1]:.0f}">{pushes:,}/s</text>')
    for one in samples:
        at_x, at_y = x(one.workers), y(one.cpu_us / 1e6)
        parts.append(f'<circle class="ours" cx="{at_x:.1f}" cy="{at_y:.1f}" r="4"/>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.measure:
        found = [asdict(one) for size in SIZES for one in measured(size)]
        (RESULTS / "fleet_model.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    samples = load()
    print(table(samples), end="")
    if options.write:
        (RESULTS / "fleet_model.txt").write_text(table(samples), "utf-8")
        (RESULTS / "fleet_model.svg").write_text(plot(samples), "utf-8")


if __name__ == "__main__":
    main()
