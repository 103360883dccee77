"""``python -m netcore [--json]``: what every backend can do here, as a table or as JSON.

A backend that cannot run, or that another package broke, has its row too, and the reason below the
table. The exit status is 0 if ``netcore.Selector()`` finds a backend and 1 if it would raise, as it
does when NETCORE_BACKEND names one that is not there; the table is printed either way.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib import metadata

from netcore._loader import VARIABLE, find, known_backends, load, why_not
from netcore.contract import EVENT_NAMES, ONESHOT, Backend

_WIDTH = 90
_HEADINGS = ("backend", "here", "events", "oneshot", "limit", "steps", "live", "scales", "takes")
_LEGEND = """\
oneshot  by the kernel (native), or by netcore (emulated): it can be used with every backend
limit    how many descriptors the kernel interface can hold
steps    how late a wait may end because the kernel counts in such steps
live     a change made by another thread reaches a running wait without waking it
scales   the cost of a wait does not grow with the number of idle descriptors
takes    what can be watched: every pollable file, or only sockets"""


@dataclass(frozen=True)
class Facts:
    """What a backend class says of itself."""

    events: list[str]
    oneshot: str
    max_descriptors: int | None
    #: Seconds.
    timeout_granularity: float
    sockets_only: bool
    scalable: bool
    live: bool


@dataclass(frozen=True)
class Row:
    """One backend."""

    name: str
    available: bool
    default: bool
    #: Why it is not available, or cannot be described.
    reason: str | None
    #: None if the class cannot be loaded.
    facts: Facts | None


def default_backend() -> tuple[str | None, str]:
    """The name of the backend that ``Selector()`` takes, and why; or None, and why it raises."""
    asked = os.environ.get(VARIABLE)
    try:
        name = load().name
    except Exception as error:  # Another package's code may raise anything.
        return None, f"{VARIABLE}={asked}: {error}" if asked else str(error)
    return (asked, f"{VARIABLE} says so") if asked else (name, "the best one here")


def rows() -> list[Row]:
    """Every backend that is known, and the one that NETCORE_BACKEND gives as "module:Class"."""
    asked = os.environ.get(VARIABLE, "")
    names = known_backends()
    if ":" in asked and asked not in names:
        names.append(asked)
    default, _ = default_backend()
    return [_row(name, name == default) for name in names]


def _row(name: str, default: bool) -> Row:
    reason, facts = why_not(name), None
    available = reason is None
    try:
        backend = find(name)
        if issubclass(backend, Backend):
            facts = _facts(backend)
    except Exception as error:  # As in why_not().
        reason = reason or f"{type(error).__name__}: {error}"
    return Row(name, available, default, reason, facts)


def _facts(backend: type[Backend]) -> Facts:
    supports, limit = backend.supports, backend.max_descriptors
    return Facts(
        events=[name for bit, name in EVENT_NAMES.items() if supports & bit and bit != ONESHOT],
        oneshot="native" if supports & ONESHOT else "emulated",
        max_descriptors=None if limit is None else int(limit),
        timeout_granularity=float(backend.timeout_granularity),
        sockets_only=bool(backend.sockets_only),
        scalable=bool(backend.scalable),
        live=bool(getattr(backend, "live", True)),  # Only readiness backends may be anything else.
    )


# -- as JSON


def as_json() -> str:
    """The table for programs."""
    default, why = default_backend()
    table = {
        "netcore": _version(),
        "python": _python(),
        "platform": sys.platform,
        "default": default,
        "default_reason": why,
        "backends": [_flat(row) for row in rows()],
    }
    return json.dumps(table, indent=2)


def _flat(row: Row) -> dict[str, object]:
    """One object per backend; every fact is null if the class cannot be loaded."""
    flat = asdict(row)
    facts = flat.pop("facts") or dict.fromkeys(field.name for field in fields(Facts))
    return {**flat, **facts}


# -- as text


def as_text() -> str:
    """The table for people, in ASCII and less than 100 columns wide."""
    default, why = default_backend()
    found = rows()
    first = f"The default is {default}: {why}." if default else f"There is no default: {why}"
    notes = [f"{row.name}: {row.reason}" for row in found if row.reason]
    parts = [
        f"netcore {_version()}, {_python()}, {sys.platform}\n{_fill(first)}",
        _aligned([_HEADINGS, *(_cells(row) for row in found)]),
        "\n".join(map(_fill, notes)),
        _LEGEND,
    ]
    text = "\n\n".join(part for part in parts if part)
    return text.encode("ascii", "backslashreplace").decode()


def _cells(row: Row) -> tuple[str, ...]:
    here = "default" if row.default else "yes" if row.available else "no"
    facts = row.facts
    if facts is None:
        return (row.name, here, *("?" * (len(_HEADINGS) - 2)))
    return (
        row.name,
        here,
        " ".join(name.replace("EVENT_", "").lower() for name in facts.events),
        facts.oneshot,
        "none" if facts.max_descriptors is None else str(facts.max_descriptors),
        _duration(facts.timeout_granularity),
        "yes" if facts.live else "no",
        "yes" if facts.scalable else "no",
        "sockets" if facts.sockets_only else "files",
    )


def _aligned(table: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = [table[0], ["-" * width for width in widths], *table[1:]]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines
    )


def _duration(seconds: float) -> str:
    """``"1 ms"``: in the largest unit that leaves nothing below one."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds / 1e-9:g} ns"


def _fill(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), _WIDTH, subsequent_indent="  ")


def _python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def _version() -> str:
    try:
        return metadata.version("netcore")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m netcore",
        description="What every backend can do here.",
        epilog=f"Exit status 1 if netcore.Selector() would raise, as {VARIABLE} can make it.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    print(as_json() if parser.parse_args(arguments).json else as_text())
    return 0 if default_backend()[0] else 1


if __name__ == "__main__":
    sys.exit(main())
