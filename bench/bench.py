#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The benchmark: one table, all contenders in one interleaved run. Run by `make bench`.

Contenders are the router of this tree and, if PEER_SKROUTERD names its program, the existing
router. Each runs once alone and once as a pair joined by mutual TLS; the load (load.c) comes to all
of them in turn, round after round, and every figure is the median of the rounds with its smallest
and largest in brackets. CPU is user and system time of all threads of the routers, of both in a
pair. What arrives is compared with what was sent; a cell that lost or damaged something says so.

    make bench                                   about ten minutes with two contenders
    bench/bench.py --quick                       one short round
    bench/bench.py --only latency --rounds 5     the cells whose name holds that word
"""

import argparse
import pathlib
import statistics
import sys
import tempfile

from rig import make_certificates
from routers import Refused, contenders

KIB, MIB, GIB = 1024, 1024 ** 2, 1024 ** 3
IDLE_CONNECTIONS = 500


class Figure:
    """The values of one cell of the table, one a round, and what was lost on the way."""

    def __init__(self, form):
        self.form, self.values, self.notes = form, [], []

    def __str__(self):
        if not self.values:
            return "–"
        text = self.form.format(statistics.median(self.values))
        if len(self.values) > 1:
            text += " (%s–%s)" % (self.form.format(min(self.values)),
                                  self.form.format(max(self.values)))
        return text


class Row:
    def __init__(self, name, unit, form="{:.2f}", must=""):
        self.name, self.unit, self.form, self.must = name, unit, form, must
        self.figures = {}

    def add(self, contender, value):
        self.figures.setdefault(contender.name, Figure(self.form)).values.append(value)


class Cell:
    """One thing to measure; `run` fills its rows for one contender."""

    def __init__(self, name, *rows):
        self.name, self.rows, self.lost = name, rows, {}

    def check(self, contender, result):
        missing = result["expected"] - result["received"]
        share = self.lost.setdefault(contender.name, [])
        share.append(missing / max(1, result["expected"]))
        wrong = result["damaged"] or result["refused"] or result["received"] > result["expected"]
        if wrong or (missing and contender.is_ours):
            contender.faults.append("%s: %s" % (self.name, result))


class Messages(Cell):
    def __init__(self, routers, size, settled, pairs, seconds, must=""):
        way = "pre-settled" if settled else "unsettled"
        name = "%s, %s, %s, %s" % (place(routers), size_words(size), way,
                                   "one pair" if pairs == 1 else "%d pairs" % pairs)
        super().__init__(name, Row(name, "µs CPU a message", must=must),
                         Row("", "messages/s", "{:.0f}"))
        self.routers = routers
        self.options = ["--size", str(size), "--pairs", str(pairs), "--seconds", str(seconds)]
        self.options += ["--presettled"] if settled else []

    def run(self, contender):
        result = contender.load(self.routers, *self.options)
        self.check(contender, result)
        self.rows[0].add(contender, result["router_cpu"] * 1e6 / max(1, result["received"]))
        self.rows[1].add(contender, result["rate"])
        contender.load_share.append(result["load_cpu"] / result["seconds"])


class Multicast(Messages):
    def __init__(self, routers, settled, seconds):
        super().__init__(routers, 100, settled, 1, seconds)
        self.name = self.rows[0].name = "%s, 100 B, %s, multicast 1→3" % (
            place(routers), "pre-settled" if settled else "unsettled")
        self.rows[0].unit, self.rows[1].unit = "µs CPU a copy", "copies/s"
        self.options += ["--receivers", "3", "--address", "mc/bench"]


class Latency(Cell):
    def __init__(self, routers, seconds, p50, p99):
        name = "%s, 100 B, latency at 1000/s" % place(routers)
        super().__init__(name, Row(name, "µs p50", "{:.0f}", p50), Row("", "µs p99", "{:.0f}", p99),
                         Row("", "µs CPU a message", "{:.0f}"))
        self.routers, self.options = routers, ["--rate", "1000", "--seconds", str(seconds)]

    def run(self, contender):
        result = contender.load(self.routers, *self.options)
        self.check(contender, result)
        self.rows[0].add(contender, result["p50_us"])
        self.rows[1].add(contender, result["p99_us"])
        self.rows[2].add(contender, result["router_cpu"] * 1e6 / max(1, result["received"]))


class Stream(Cell):
    """One message of that many bytes, from one socket to the other."""

    def __init__(self, routers, size, must=""):
        name = "%s, one message of %s" % (place(routers), size_words(size))
        super().__init__(name, Row(name, "s CPU a GB", must=must), Row("", "Gbit/s"))
        self.routers, self.options = routers, ["--stream", str(size)]

    def run(self, contender):
        result = contender.load(self.routers, *self.options)
        self.check(contender, result)
        self.rows[0].add(contender, result["router_cpu"] * 1e9 / max(1, result["bytes"]))
        self.rows[1].add(contender, result["bytes"] * 8e-9 / result["seconds"])


class SlowReceiver(Cell):
    def __init__(self, routers, size, rate):
        name = "%s, %s to a receiver of %d MB/s" % (place(routers), size_words(size), rate / 1e6)
        super().__init__(name, Row(name, "MiB more resident", "{:.1f}", "≤ 4"))
        self.routers, self.options = routers, ["--stream", str(size), "--slow", str(rate)]

    def run(self, contender):
        processes = contender.processes(self.routers)
        before = [p.resident_kib() for p in processes]
        for p in processes:
            p.forget_peak()
        self.check(contender, contender.load(self.routers, *self.options))
        more = [p.peak_kib() - b for p, b in zip(processes, before)]
        self.rows[0].add(contender, max(more) / KIB)


class Idle(Cell):
    """A router nobody talks to, then one with many connections that say nothing."""

    def __init__(self):
        name = "start and idle"
        super().__init__(name, Row("start to accepting", "ms", "{:.1f}", "≤ 50"),
                         Row("idle, no TLS configured", "MiB resident", "{:.1f}", "≤ 6"),
                         Row("idle, with a TLS profile", "MiB resident", "{:.1f}"),
                         Row("each idle connection (of %d, with a link)" % IDLE_CONNECTIONS,
                             "KiB resident", "{:.1f}", "≤ 16"))

    def run(self, contender):
        with contender.fresh(with_tls=True) as (router, _):
            self.rows[2].add(contender, router.settled_kib() / KIB)
        with contender.fresh(with_tls=False) as (router, seconds):
            self.rows[0].add(contender, seconds * 1000)
            before = router.settled_kib()
            self.rows[1].add(contender, before / KIB)
            with contender.idle_connections(router, IDLE_CONNECTIONS):
                more = router.settled_kib() - before
            self.rows[3].add(contender, more / IDLE_CONNECTIONS)


def place(routers):
    return "one router" if routers == 1 else "two over mTLS"


def size_words(size):
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size >= unit:
            return "%d %s" % (size // unit, name)
    return "%d B" % size


MUST = {(1, 100, True): "≤ 0.8", (1, 100, False): "≤ 1.2", (2, 100, True): "≤ 2.5",
        (2, 100, False): "≤ 2.5", (2, 10 * KIB, True): "≤ 15", (2, 10 * KIB, False): "≤ 15"}


def make_cells(quick):
    seconds = 0.5 if quick else 2
    cells = [Idle()]
    for routers in (1, 2):
        for size in (100, 10 * KIB):
            for settled in (True, False):
                for pairs in (1, 4):
                    cells.append(Messages(routers, size, settled, pairs, seconds,
                                          MUST.get((routers, size, settled), "")))
        cells += [Multicast(routers, settled, seconds) for settled in (True, False)]
    cells += [Latency(1, 4 * seconds, "≤ 65", "≤ 130"), Latency(2, 4 * seconds, "≤ 120", "")]
    size = 256 * MIB if quick else GIB
    cells += [Stream(1, size), Stream(2, size, "≤ 1.2"),
              SlowReceiver(1, size, 400 * 10 ** 6), SlowReceiver(2, size, 400 * 10 ** 6)]
    return cells


def measure(cells, names, rounds):
    """Contenders take turns within each cell; every second round in the other order."""
    for number in range(rounds):
        for cell in cells:
            print("round %d of %d: %s" % (number + 1, rounds, cell.name), file=sys.stderr)
            for contender in names if number % 2 == 0 else reversed(names):
                try:
                    cell.run(contender)
                except Refused as refused:
                    contender.refused.append(str(refused))


def lost_words(cell, contender):
    share = statistics.median(cell.lost.get(contender.name, [0]))
    return ", %.0f %% lost" % (100 * share) if share > 0.0005 else ""


def print_table(cells, names):
    head = ["", ""] + [c.name for c in names] + ["must"]
    lines = [head]
    for cell in cells:
        for i, row in enumerate(cell.rows):
            figures = [str(row.figures.get(c.name, "–")) + (lost_words(cell, c) if i == 0 else "")
                       for c in names]
            lines.append([row.name, row.unit] + figures + [row.must])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for i, line in enumerate(lines):
        print("| " + " | ".join(text.ljust(width) for text, width in zip(line, widths)) + " |")
        if i == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def main():
    parser = argparse.ArgumentParser(description="the benchmark of the router")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, help="how often each cell is measured (3)")
    parser.add_argument("--only", default="", help="only cells whose name holds this")
    parser.add_argument("--ours-only", action="store_true", help="not the existing router")
    args = parser.parse_args()
    cells = [c for c in make_cells(args.quick) if args.only in c.name]
    with tempfile.TemporaryDirectory() as directory:
        make_certificates(pathlib.Path(directory))
        names = contenders(pathlib.Path(directory), args.ours_only)
        try:
            for contender in names:
                contender.start()
            measure(cells, names, args.rounds or (1 if args.quick else 3))
        finally:
            for contender in names:
                contender.stop()
    print_table(cells, names)
    for contender in names:
        if contender.load_share:
            print("\nThe load used at most %.0f %% of a processor with %s." %
                  (100 * max(contender.load_share), contender.name), end="")
    print()
    faults = [f for c in names for f in c.faults if c.is_ours]
    for refused in sorted({r for c in names for r in c.refused}):
        print("not measured: " + refused)
    for fault in faults:
        print("lost or damaged: " + fault, file=sys.stderr)
    return 1 if faults or any(c.refused for c in names if c.is_ours) else 0


if __name__ == "__main__":
    sys.exit(main())
