"""The suite bites: each broken backend fails the rule that names its fault."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("the mutants are made of epoll and poll: Linux", allow_module_level=True)

from mutants import MUTANTS

TESTS = Path(__file__).parent
SUITE = {path: path.read_text(encoding="utf-8") for path in TESTS.glob("conformance/test_*.py")}


def file_of(test: str) -> Path:
    """The file of the suite in which a test stands."""
    [path] = [path for path, text in SUITE.items() if f"def {test}(" in text]
    return path


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_rule_that_names_the_fault_fails(mutant: Any) -> None:
    """In a process of its own, because a fault may spin, hang or hold descriptors."""
    rule = MUTANTS[mutant]
    backend = f"mutants:{mutant.__name__}" if isinstance(mutant, type) else "epoll"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "mutants", "-p", "no:cacheprovider"),
            *("-p", "no:xdist", "--timeout", "8", "--maxfail", "1"),
            *(f"--netcore-backend={backend}", f"{file_of(rule)}::{rule}"),
        ],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
            "NETCORE_MUTANT": mutant.__name__,
            "NETCORE_TEST_SOON": "2",  # For those that wait in vain.
            "PYTEST_ADDOPTS": "",
        },
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 1, f"not caught:\n{done.stdout}{done.stderr}"
    assert f"FAILED {TESTS.name}/conformance" in done.stdout, done.stdout
    # A mutant that knows netcore no more fails every rule.
    assert not re.search(r"^\S+:\d+: (Attribute|Name)Error$", done.stdout, re.M), done.stdout
