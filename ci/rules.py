"""Writes docs/rules.md from the conformance suite; ``--check`` only says whether it is stale."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SUITE = ROOT / "tests" / "conformance"
PAGE = ROOT / "docs" / "rules.md"
HEAD = """# The conformance rules

What every backend promises, rule by rule. This page is written by `ci/rules.py` from the tests in
`tests/conformance`: the name of a test is the rule, its docstring the reason. "Only" names the
declared capability that a backend must have to be held to it. Numbers up to 118 are those of the
specification that the suite was written from, those after it are its own.
"""


def tests_of(module: ModuleType) -> Iterator[tuple[int, Any, Any]]:
    """(number, gate, function) of every rule in a module, as they stand."""
    for _, function in inspect.getmembers(module, inspect.isfunction):
        for mark in getattr(function, "pytestmark", []):
            if mark.name == "rule" and function.__module__ == module.__name__:
                yield mark.args[0], mark.args[1], function


def page() -> str:
    """The text of docs/rules.md."""
    sys.path.insert(0, str(SUITE.parent))
    modules = [import_module(f"conformance.{path.stem}") for path in SUITE.glob("test_*.py")]
    sections = [
        (sorted(tests_of(module), key=lambda rule: (rule[0], rule[2].__name__)), module)
        for module in modules
    ]
    sections.sort(key=lambda section: (section[0][0][0], section[1].__doc__))
    parts = [HEAD]
    for rules, module in sections:
        parts.append(f"\n## {(module.__doc__ or '').splitlines()[0]}\n")
        for number, gate, function in rules:
            sentence = function.__name__[len("test_") :].replace("_", " ")
            only = gate.describe()
            parts.append(f"\n**{number}. {sentence[0].upper()}{sentence[1:]}.**")
            parts.append(f"{' '.join(inspect.getdoc(function).split())}")
            if only:
                parts.append(f"*Only: {only}.*")
    return "\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if it is stale")
    options = parser.parse_args()
    text = page()
    if not options.check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print(f"{PAGE.relative_to(ROOT)} is stale: run python ci/rules.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
