"""CPython's own tests of its selector event loop, with a loop on netcore.Selector."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any

import pytest
from test_stdlib import run

import netcore

events = pytest.importorskip("test.test_asyncio.test_events", reason="no test package here")
low_level = pytest.importorskip("test.test_asyncio.test_sock_lowlevel")
streams = pytest.importorskip("test.test_asyncio.test_streams")


def on(backend: str, base: Any) -> type[unittest.TestCase]:
    """``base`` with its loops on ``backend``."""

    def create_event_loop(self: unittest.TestCase) -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(netcore.Selector(backend))

    return type(base.__name__, (base,), {"create_event_loop": create_event_loop})


BASES = [events.SelectEventLoopTests, low_level.SelectEventLoopTests]


@pytest.mark.parametrize(
    ("backend", "base", "name"),
    [
        pytest.param(backend, base, name, id=f"{backend}-{base.__module__[18:]}-{name}")
        for backend in netcore.available_backends()
        for base in BASES
        for name in unittest.TestLoader().getTestCaseNames(base)
    ],
)
def test_a_loop_on_it_passes_the_tests_of_asyncio(backend: str, base: Any, name: str) -> None:
    """``asyncio.SelectorEventLoop(netcore.Selector(backend))`` is an asyncio loop."""
    run(on(backend, base), name)


@pytest.mark.parametrize("backend", netcore.available_backends())
@pytest.mark.parametrize("name", unittest.TestLoader().getTestCaseNames(streams.StreamTests))
def test_streams_work_on_a_loop_on_it(
    backend: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``test_streams`` makes its loop by ``asyncio.new_event_loop``, or has ``asyncio.run`` make
    it.
    """

    def new_event_loop() -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(netcore.Selector(backend))

    monkeypatch.setattr(asyncio, "new_event_loop", new_event_loop)
    monkeypatch.setattr(asyncio.events, "new_event_loop", new_event_loop)
    run(streams.StreamTests, name)
