"""Draws what selectors_bench.py and echo_bench.py measured.

``python bench/plot.py RESULTS.json [...] PICTURE.svg``
"""

from __future__ import annotations

import json
import sys
from typing import Any

import matplotlib as mpl

mpl.use("agg")
# The same figures give the same file.
mpl.rcParams["svg.hashsalt"] = "netcore"

import matplotlib.pyplot as plt  # noqa: E402

STDLIB, NETCORE, TEXT = "#b8bec6", "#2563a8", "#24292f"
CHANGES = ["register", "modify", "unregister"]
Record = dict[str, Any]


def draw(reports: list[Record], path: str) -> None:
    """One row for each report: waits relative to the floor, changes relative to the stdlib."""
    plt.rcParams.update(
        {"font.size": 9, "text.color": TEXT, "axes.labelcolor": TEXT, "xtick.color": TEXT}
    )
    figure, rows = plt.subplots(
        len(reports), 2, figsize=(9.2, 3.2 * len(reports)), squeeze=False, width_ratios=[5, 3]
    )
    for (waits, changes), report in zip(rows, reports):
        python = report["python"]
        name = f"{python['implementation']} {python['version']}"
        _draw_waits(waits, report["cases"], name)
        _draw_changes(changes, report["cases"])
    figure.tight_layout()
    metadata = {"Date": None} if path.endswith(".svg") else None
    figure.savefig(path, facecolor="white", dpi=150, metadata=metadata)
    plt.close(figure)


def _draw_waits(axes: Any, cases: list[Record], name: str) -> None:
    chosen = [c for c in cases if (c["backend"], c["operation"]) == ("epoll", "select(0)")]
    _bars(axes, chosen, "stdlib/floor", -0.2, "stdlib EpollSelector", STDLIB, TEXT)
    _bars(axes, chosen, "netcore/floor", 0.2, "netcore", NETCORE, "white")
    axes.axhline(1, color=TEXT, linewidth=0.8, linestyle="--")
    labels = [f"{case['ready']:,} of\n{case['registered']:,}" for case in chosen]
    axes.set_xticks(range(len(chosen)), labels)
    axes.set_title(f"select() on {name}, ready of registered", fontsize=10)
    axes.set_ylabel("time / raw epoll.poll()")
    _finish(axes)


def _draw_changes(axes: Any, cases: list[Record]) -> None:
    found = {case["operation"]: case for case in cases if case["backend"] == "epoll"}
    chosen = [found[name] for name in CHANGES if name in found]
    _bars(axes, chosen, "netcore/stdlib", 0, "netcore", NETCORE, "white")
    axes.axhline(1, color="#7a828c", linewidth=1.2, linestyle="--", label="stdlib EpollSelector")
    axes.set_xticks(range(len(chosen)), [case["operation"] for case in chosen])
    axes.set_title("register, modify, unregister", fontsize=10)
    axes.set_ylabel("time / stdlib EpollSelector")
    _finish(axes)


def draw_echoes(report: Record, path: str) -> None:
    """Processor time per echo in floors: a panel for each size, a group for each number of
    connections.
    """
    sizes = sorted({case["size"] for case in report["cases"]})
    figure, panels = plt.subplots(len(sizes), 1, figsize=(9.2, 3.2 * len(sizes)), squeeze=False)
    for axes, size in zip(panels[:, 0], sizes):
        cases = [case for case in report["cases"] if case["size"] == size]
        names = [name for name in cases[0]["ratios"] if name not in ("floor", "again")]
        for number, name in enumerate(names):
            places = [
                group + (number - len(names) / 2) * 0.8 / len(names) for group in range(len(cases))
            ]
            heights = [case["ratios"][name][1] for case in cases]
            axes.bar(places, heights, 0.75 / len(names), label=name, align="edge")
        axes.axhline(1, color=TEXT, linewidth=0.8, linestyle="--")
        axes.set_xticks(range(len(cases)), [f"{c['connections']} connections" for c in cases])
        axes.set_title(f"TCP echo of {size:,} bytes", fontsize=10)
        axes.set_ylabel("processor time / raw epoll loop")
        _finish(axes)
    figure.tight_layout()
    metadata = {"Date": None} if path.endswith(".svg") else None
    figure.savefig(path, facecolor="white", dpi=150, metadata=metadata)
    plt.close(figure)


def _bars(
    axes: Any,
    cases: list[Record],
    ratio: str,
    shift: float,
    label: str,
    color: str,
    ink: str,
) -> None:
    heights = [case["ratios"][ratio][1] for case in cases]
    places = [number + shift for number in range(len(cases))]
    bars = axes.bar(places, heights, 0.38, label=label, color=color)
    axes.bar_label(bars, fmt="%.2f", padding=-12, fontsize=8, color=ink)  # Off the line at 1.


def _finish(axes: Any) -> None:
    axes.set_ylim(0, axes.get_ylim()[1] * 1.28)
    axes.legend(frameon=False, loc="upper left", ncols=2, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)


def main() -> None:
    *sources, picture = sys.argv[1:]
    reports = []
    for source in sources:
        with open(source, encoding="utf-8") as file:
            reports.append(json.load(file))
    draw(reports, picture)


if __name__ == "__main__":
    main()
