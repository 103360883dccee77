"""The command-line options of the conformance suite, and nothing else.

A plugin of its own because the suite's conftest is read too late for options under
``pytest --pyargs netcore.conformance``.
"""

from __future__ import annotations

import pytest


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
