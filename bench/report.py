"""The report of a benchmark: a JSON file, and a table."""

from __future__ import annotations

import json
import platform
from collections.abc import Collection
from importlib.metadata import version
from typing import Any

Record = dict[str, Any]  # Of the JSON file: all of it, or one case.


def new_report(rounds: int, **more: Any) -> Record:
    """A figure without its Python is worth nothing: what was measured where, and ``more``."""
    python = {
        "implementation": platform.python_implementation(),
        "version": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    return {"python": python, "netcore": version("netcore"), "rounds": rounds, **more}


def write(report: Record, path: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)
        file.write("\n")


def title(report: Record, *subject: str) -> str:
    """Of a table: what was measured where, ``subject`` if it is a part only."""
    python = report["python"]
    return (
        f"netcore {report['netcore']}, {python['implementation']} {python['version']},"
        f" {python['platform']}: {', '.join([*subject, 'medians'])} of {report['rounds']} rounds"
    )


def print_table(
    title: str, columns: Collection[str], rows: list[list[str]], numbers: Collection[str]
) -> None:
    """``numbers`` are those of ``columns`` to be written flush right, which takes rich."""
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        widths = [max(map(len, column)) for column in zip(columns, *rows)]
        print(title)
        for row in (columns, *rows):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        return
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left")
    for row in rows:
        table.add_row(*row)
    console = Console()
    # A file or a pipe has no width: nothing is to be cut off there.
    (console if console.is_terminal else Console(width=200)).print(table)
