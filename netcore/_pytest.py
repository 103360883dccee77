"""The command-line options and the report of the conformance suite, and nothing else.

A plugin of its own because the suite's conftest is read too late for options under
``pytest --pyargs netcore.conformance``, and not at all in the main process of pytest-xdist. It is
loaded into every pytest run of everybody who has netcore installed: fixtures live in the conftest.
"""

from __future__ import annotations

import pytest

#: The user property under which a test says which rule it holds which backend to.
PROPERTY = "netcore_rule"
_CELLS = {"passed": "ok", "failed": "FAILED", "error": "FAILED", "skipped": "gate"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("netcore")
    group.addoption(
        "--netcore-backend",
        action="append",
        default=[],
        metavar="NAME",
        help="hold this backend to the conformance rules: a built-in or installed name, or"
        " module:Class; may be repeated; by default every backend that is available",
    )
    group.addoption(
        "--netcore-report",
        action="store_true",
        help="print a table of rules x backends, with the reason of every gate",
    )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    outcomes: dict[int, dict[str, str]] = {}
    gates: set[str] = set()
    for outcome, cell in _CELLS.items():
        for report in terminalreporter.stats.get(outcome, []):
            for name, value in getattr(report, "user_properties", ()):
                if name == PROPERTY:
                    number, backend = value
                    row = outcomes.setdefault(number, {})
                    # A rule of several tests holds if all do.
                    if row.get(backend) != "FAILED" and (cell != "gate" or backend not in row):
                        row[backend] = cell
                    if cell == "gate":
                        gates.add(report.longrepr[2].replace("Skipped: ", ""))
    if not outcomes:
        return
    backends = sorted({backend for row in outcomes.values() for backend in row})
    terminalreporter.section("conformance: rules x backends")
    for backend in backends:
        column = [row.get(backend) for row in outcomes.values()]
        counts = ", ".join(
            f"{column.count(cell)} {text}"
            for cell, text in (("ok", "held"), ("FAILED", "FAILED"), ("gate", "gated"))
            if cell in column
        )
        terminalreporter.line(f"{backend}: {counts}, of {len(outcomes)} rules")
    if config.getoption("--netcore-report"):
        widths = [max(len(backend), 6) + 2 for backend in backends]
        terminalreporter.line("")
        terminalreporter.line("rule  " + "".join(map(str.ljust, backends, widths)))
        for number in sorted(outcomes):
            cells = [outcomes[number].get(backend, "-") for backend in backends]
            terminalreporter.line(f"{number:>4}  " + "".join(map(str.ljust, cells, widths)))
        terminalreporter.line("")
        for reason in sorted(gates):
            terminalreporter.line(f"gate: {reason}")
