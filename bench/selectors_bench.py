"""Measures netcore against the stdlib's selectors and against the raw calls of ``select``.

``python bench/selectors_bench.py [--quick] [--json FILE] [--plot FILE]``
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Iterator

from cases import IDLE, Case, all_cases
from floors import measurable
from measure import Quartiles, Timings, measure
from report import Record, new_report, print_table, title, write
from sets import most_descriptors


def main() -> None:
    options = _options()
    most = most_descriptors(min(options.most, max(IDLE)))
    report = new_report(options.rounds, most_descriptors=most, cases=list(_run(options, most)))
    show(report)
    if options.json:
        write(report, options.json)
    if options.plot:
        from plot import draw

        draw([report], options.plot)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick",
        action="store_true",
        help="the best backend only, few rounds: less than 20 seconds",
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures")
    parser.add_argument("--plot", metavar="FILE", help="draw them, as SVG or PNG")
    parser.add_argument("--backends", metavar="NAME,...")
    parser.add_argument("--only", default="", metavar="TEXT", help="operations with TEXT in them")
    parser.add_argument("--rounds", type=int, help="rounds of each case, 2 or more")
    parser.add_argument("--block", type=float, default=0.0005, help="seconds per block of calls")
    parser.add_argument("--most", type=int, default=max(IDLE), help="descriptors per set")
    options = parser.parse_args()
    if options.backends is None:
        options.backends = ",".join(measurable()[:1] if options.quick else measurable())
    options.rounds = options.rounds or (21 if options.quick else 401)
    return options


def _run(options: argparse.Namespace, most: int) -> Iterator[Record]:
    for backend in filter(None, options.backends.split(",")):
        for case in all_cases(backend, most):
            if options.only in case.operation:
                print(".", end="", file=sys.stderr, flush=True)
                yield record(case, measure(case.subjects, options.rounds, options.block))
    print(file=sys.stderr)


def record(case: Case, timings: Timings) -> Record:
    """``case`` as it goes into the JSON file; ratios are ``[quartile, median, quartile]``."""
    first = next(iter(case.subjects))
    wanted = [("again", first), ("stdlib", "floor"), ("netcore", "floor"), ("netcore", "stdlib")]
    ratios = {
        f"{name}/{to}": timings.ratio(name, to)
        for name, to in [*wanted, ("netcore", "alone")]
        if name in case.subjects and to in case.subjects
    }
    target = None
    # They were set for CPython, where the interpreter is what there is to save.
    if case.target and platform.python_implementation() == "CPython":
        to, limit = case.target
        ratio = f"netcore/{to}"
        target = {"ratio": ratio, "limit": limit, "reached": ratios[ratio].median <= limit}
    return {
        "backend": case.backend,
        "operation": case.operation,
        "ready": case.ready,
        "registered": case.registered,
        "asked": case.asked,
        "nanoseconds": {name: timings.nanoseconds(name) for name in case.subjects},
        "ratios": ratios,
        "target": target,
    }


# -- the table

SUBJECTS = ("floor", "stdlib", "netcore")
RATIOS = ("stdlib/floor", "netcore/floor", "netcore/stdlib", "again")
COLUMNS = ("case", *(f"{name} ns" for name in SUBJECTS), *RATIOS, "target")


def show(report: Record) -> None:
    rows = [_row(case) for case in report["cases"]]
    print_table(title(report), COLUMNS, rows, [name for name in COLUMNS if name.endswith("ns")])
    print("Ratios: median [quartiles]. again: the first subject measured twice, the noise.")
    lowered = sorted({(case["asked"], case["registered"]) for case in report["cases"]})
    for asked, registered in lowered:
        if asked != registered:
            print(f"{registered} registered instead of {asked}: limit of the system or backend.")


def _row(case: Record) -> list[str]:
    where = f" {case['ready']}/{case['registered']}" if case["ready"] else ""
    if case["asked"] != case["registered"]:
        where += " (lowered)"
    times = case["nanoseconds"]
    ratios = {name: case["ratios"].get(name) for name in RATIOS}
    ratios["again"] = next(q for name, q in case["ratios"].items() if name.startswith("again/"))
    target = case["target"]
    return [
        f"{case['backend']} {case['operation']}{where}",
        *(f"{times[name]:.0f}" if name in times else "-" for name in SUBJECTS),
        *(_ratio(ratios.get(name)) for name in RATIOS),
        _verdict(target, case["ratios"]) if target else "",
    ]


def _ratio(quartiles: Quartiles | None) -> str:
    if quartiles is None:
        return "-"
    low, middle, high = quartiles
    return f"{middle:.2f} [{low:.2f} {high:.2f}]"


def _verdict(target: Record, ratios: dict[str, Quartiles]) -> str:
    name, limit = target["ratio"], target["limit"]
    said = f"{name.partition('/')[2]} {limit:.2f}"
    if name == "netcore/alone":
        said = f"{ratios[name][1]:.2f} of alone, {limit:.2f}"
    return f"{said} {'reached' if target['reached'] else 'MISSED'}"


if __name__ == "__main__":
    main()
