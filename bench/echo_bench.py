"""Measures what an echo over TCP costs: netcore, the raw loop over epoll, the stdlib, its peers.

``python bench/echo_bench.py [--only floor,completion] [--connections 50] [--sizes 64] ...``

A round starts every server anew, and then loads them by turns, in short slices and in a random
order. What counts is the processor time of a server per echo, relative to the floor's in the same
round; the median over the rounds drops what else the machine had to do. "again" is the floor once
more, and so the noise.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import select
import shutil
import sys
from contextlib import ExitStack
from statistics import median
from tempfile import TemporaryDirectory

from echo_processes import Server, Slice, load_command, processors
from echo_servers import SERVERS
from measure import Timings
from report import Record, new_report, print_table, title, write

FLOOR = "floor"
#: The most processor time, in floors, with 50 connections and more.
TARGETS = {"readiness": 1.05, "completion": 1.10}
WARM_UP = 0.1  # Seconds of each server in each round that do not count.


def main() -> None:
    options = _options()
    if not hasattr(select, "epoll"):
        raise SystemExit("select.epoll is the floor, and is not here")
    names = _importable(options.only.split(","))
    if options.syscalls and not shutil.which("strace"):
        print("system calls are not counted: there is no strace here")
        options.syscalls = False
    report = new_report(
        options.rounds,
        seconds=options.seconds,
        separate_processors=len(set.union(*processors())) == 2,
        cases=[],
    )
    with TemporaryDirectory() as directory:
        load = load_command(directory)
        for size in _numbers(options.sizes):
            for connections in _numbers(options.connections):
                case = _case(names, connections, size, load, options)
                report["cases"].append(case)
                show(report, case)
    if not report["separate_processors"]:
        print("There is one processor only: the load has taken the caches of the servers.")
    if options.json:
        write(report, options.json)
    if options.plot:
        from plot import draw_echoes

        draw_echoes(report, options.plot)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only",
        default=",".join(SERVERS),
        metavar="NAME,...",
        help="with @DIRECTORY behind it, with the netcore that is there",
    )
    parser.add_argument("--rounds", type=int, default=15, help="2 or more")
    parser.add_argument("--seconds", type=float, default=0.5, help="per server and round")
    parser.add_argument("--slice", type=float, default=0.05, help="seconds at a time")
    parser.add_argument("--sizes", default="64,16384", metavar="BYTES,...")
    parser.add_argument("--connections", default="1,50,500", metavar="NUMBER,...")
    parser.add_argument("--syscalls", action="store_true", help="count them, too, with strace")
    parser.add_argument("--json", metavar="FILE", help="write the figures")
    parser.add_argument("--plot", metavar="FILE", help="draw them, as SVG or PNG")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _importable(names: list[str]) -> list[str]:
    """``names`` without those whose library is not here, which is said."""
    found = []
    for name in names:
        needs = SERVERS[name.partition("@")[0]][0]
        if needs and importlib.util.find_spec(needs) is None:
            print(f"{name} is left out: {needs} is not installed")
        else:
            found.append(name)
    return found


def _case(
    names: list[str], connections: int, size: int, load: list[str], options: argparse.Namespace
) -> Record:
    """Measure all of ``names`` with so many connections and messages of ``size`` bytes."""
    rounds: dict[str, list[Slice]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name, sums in _round(names, connections, size, load, options).items():
            rounds[name].append(sums)
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    per_echo = {n: [s.processor / s.echoes for s in sums] for n, sums in rounds.items()}
    timings = Timings(per_echo)
    to = FLOOR if FLOOR in names else names[0]
    ratios = {name: timings.ratio(name, to) for name in names}
    case = {
        "connections": connections,
        "size": size,
        "relative_to": to,
        "nanoseconds_per_echo": {name: timings.nanoseconds(name) for name in names},
        "ratios": ratios,
        "echoes_per_second": {
            name: median(s.echoes / s.elapsed * 1e9 for s in sums) for name, sums in rounds.items()
        },
        "targets": {
            name: {"limit": limit, "reached": ratios[name].median <= limit}
            for name, limit in TARGETS.items()
            if name in names and to == FLOOR and connections >= 50
        },
    }
    if options.syscalls:
        case["system_calls_per_echo"] = {
            name: _system_calls(name, connections, size, load) for name in names
        }
    return case


def _round(
    names: list[str], connections: int, size: int, load: list[str], options: argparse.Namespace
) -> dict[str, Slice]:
    with ExitStack() as stack:
        servers = {}
        for name in names:
            servers[name] = Server(name, connections, size, load)
            stack.callback(servers[name].close)
        for server in servers.values():
            server.wait_until_ready()
        for server in servers.values():
            server.run(WARM_UP)
        sums = dict.fromkeys(names, Slice(0, 0, 0))
        order = list(names)
        for _ in range(max(1, round(options.seconds / options.slice))):
            random.shuffle(order)
            for name in order:
                sums[name] += servers[name].run(options.slice)
        return sums


def _system_calls(name: str, connections: int, size: int, load: list[str]) -> dict[str, float]:
    server = Server(name, connections, size, load)
    try:
        server.wait_until_ready()
        server.run(WARM_UP)
        return server.system_calls(0.5)
    finally:
        server.close()


# -- the table

COLUMNS = ("server", "CPU us/echo", "floor/server", "server/floor", "echoes/s", "target")


def show(report: Record, case: Record) -> None:
    calls = case.get("system_calls_per_echo")
    columns = [c.replace("floor", case["relative_to"]) for c in COLUMNS]
    rows = [_row(case, name) for name in case["ratios"]]
    if calls:
        columns.append("system calls per echo")
        for row, name in zip(rows, case["ratios"]):
            row.append(_calls(calls[name]))
    subject = f"{case['connections']} connections", f"{case['size']} bytes"
    print_table(title(report, *subject), columns, rows, (columns[1], columns[4]))


def _row(case: Record, name: str) -> list[str]:
    low, middle, high = case["ratios"][name]
    target = case["targets"].get(name)
    verdict = "reached" if target and target["reached"] else "MISSED"
    return [
        name,
        f"{case['nanoseconds_per_echo'][name] / 1000:.2f}",
        f"{1 / middle:.2f}",
        f"{middle:.3f} [{low:.3f} {high:.3f}]",
        f"{case['echoes_per_second'][name]:,.0f}",
        f"{target['limit']:.2f} {verdict}" if target else "",
    ]


def _calls(counts: dict[str, float]) -> str:
    most = sorted(counts.items(), key=lambda item: -item[1])
    each = ", ".join(f"{name} {count:.3f}" for name, count in most if count >= 0.0005)
    return f"{sum(counts.values()):.3f}: {each}"


if __name__ == "__main__":
    main()
