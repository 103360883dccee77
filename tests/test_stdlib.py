"""CPython's own ``test_selectors`` and the selector loops of its ``test_asyncio``, with ours."""

from __future__ import annotations

import unittest
from typing import Any

import pytest

import netcore

stdlib_tests = pytest.importorskip("test.test_selectors", reason="this Python has no test package")


def subject(backend: str) -> type[netcore.Selector]:
    """A selector class without arguments, as the stdlib's are."""

    def __init__(self: netcore.Selector) -> None:
        netcore.Selector.__init__(self, backend)

    return type(f"Netcore{backend.title()}", (netcore.Selector,), {"__init__": __init__})


def cases(backend: str) -> type[unittest.TestCase]:
    """The stdlib's test case for ``backend``, with ours in the place of its selector."""
    name = f"{backend.title()}SelectorTestCase"
    base: Any = getattr(stdlib_tests, name, stdlib_tests.BaseSelectorTestCase)
    bases = (base,) if issubclass(base, unittest.TestCase) else (base, unittest.TestCase)
    return type(name, bases, {"SELECTOR": subject(backend), "__unittest_skip__": False})


def run(case: type[unittest.TestCase], name: str) -> None:
    """Run one test of a unittest case and report as pytest does."""
    result = unittest.TestResult()
    case(name).run(result)
    for _, text in [*result.errors, *result.failures]:
        pytest.fail(text, pytrace=False)
    for _, reason in result.skipped:
        pytest.skip(reason)


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        (backend, name)
        for backend in netcore.available_backends()
        for name in unittest.TestLoader().getTestCaseNames(cases(backend))
        if name != "test_modify_unregister"  # Patches a private attribute of the stdlib's class.
    ],
)
def test_it_passes_the_tests_of_the_stdlib(backend: str, name: str) -> None:
    """``test.test_selectors``: netcore.Selector is a drop-in."""
    run(cases(backend), name)
