"""``close`` by another thread or a signal handler at any point of any call: that call ends as usual
or with RuntimeError, what it accepted is done, and nothing stays open.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from netcore.conformance.tools import SOON, open_descriptors, tcp_pair

import netcore
from netcore import EVENT_READ, EVENT_WRITE, Operation, Recv, Selector, SendAll

HERE = str(Path(netcore.__file__).parent)


class Subject:
    """A selector, a connection, and the operations of a server on it."""

    def __init__(self, backend: str) -> None:
        self.selector = Selector(backend)
        self.ours, self.theirs = tcp_pair()
        self.ours.setblocking(False)
        self.recv, self.send = Recv(self.ours, 10), SendAll(self.ours, b"0")
        #: What was submitted last.
        self.op: Operation | None = None

    def submit(self, operation: Operation) -> None:
        self.op = operation
        self.selector.submit(operation)

    def close(self) -> None:
        for it in (self.selector, self.ours, self.theirs):
            it.close()


Step = Callable[[Subject], Any]


def nothing(it: Subject) -> None:
    pass


def registered(it: Subject) -> None:
    it.selector.register(it.ours, EVENT_READ)


def pending(it: Subject) -> None:
    it.selector.submit(it.recv)
    it.selector.wait(0)


def in_use(it: Subject) -> None:
    for _ in range(3):
        it.selector.submit(it.recv)
        it.selector.select(0)
        it.theirs.send(b"0")
        for op in (it.recv, it.selector.submit(it.send)):
            while not op.done:
                it.selector.wait(SOON)
    while it.selector.wait(0) != ([], []):
        pass


def busy(it: Subject) -> None:
    in_use(it)
    it.selector.submit(it.recv)
    it.selector.submit(it.send)
    it.theirs.send(b"0")


def busy_and_ready(it: Subject) -> None:
    registered(it)
    busy(it)


def readable(it: Subject) -> None:
    registered(it)
    it.theirs.send(b"0")


def left(it: Subject) -> None:
    """Closed while registered, and readable for ever: a duplicate lives."""
    duplicate = it.ours.dup()
    readable(it)
    it.ours.close()
    it.ours = duplicate


SCENARIOS: dict[str, tuple[Step, Step]] = {
    "register": (nothing, lambda it: it.selector.register(it.ours, EVENT_READ)),
    "register in use": (in_use, lambda it: it.selector.register(it.ours, EVENT_READ)),
    "modify": (registered, lambda it: it.selector.modify(it.ours, EVENT_WRITE)),
    "modify data": (registered, lambda it: it.selector.modify(it.ours, EVENT_READ, "data")),
    "unregister": (registered, lambda it: it.selector.unregister(it.ours)),
    "get_key": (registered, lambda it: it.selector.get_key(it.ours)),
    "wakeup": (nothing, lambda it: it.selector.wakeup()),
    "select": (readable, lambda it: it.selector.select(SOON)),
    "select busy": (busy, lambda it: it.selector.select(SOON)),
    "select left": (left, lambda it: it.selector.select(0.001)),
    "select idle": (registered, lambda it: it.selector.select(0.001)),
    "submit first": (nothing, lambda it: it.submit(it.recv)),
    "submit second": (pending, lambda it: it.submit(Recv(it.ours, 10))),
    "submit timeout": (pending, lambda it: it.submit(Recv(it.ours, 10, timeout=SOON))),
    "submit again": (in_use, lambda it: it.submit(it.recv)),
    "submit again to send": (in_use, lambda it: it.submit(it.send)),
    "submit in place": (in_use, lambda it: it.submit(Recv(it.ours, 10))),
    "submit in place to send": (in_use, lambda it: it.submit(SendAll(it.ours, b"0"))),
    "post": (nothing, lambda it: it.selector.post()),
    "cancel": (pending, lambda it: it.selector.cancel(it.recv)),
    "cancel_all": (pending, lambda it: it.selector.cancel_all(it.ours)),
    "wait": (pending, lambda it: it.selector.wait(0.001)),
    "wait busy": (busy, lambda it: it.selector.wait(SOON)),
    "wait busy and ready": (busy_and_ready, lambda it: it.selector.wait(SOON)),
    "wait for one": (busy, lambda it: it.selector.wait(SOON, 1)),
}


def close_in_thread(selector: Selector) -> threading.Thread:
    """It may have to wait until the call that is going on gives back the lock."""
    thread = threading.Thread(target=selector.close)
    thread.start()
    if not selector._lock._is_owned():  # type: ignore[attr-defined]
        thread.join(SOON)
    return thread


def closed_at(line: int, by: str, selector: Selector, step: Callable[[], Any]) -> bool:
    """Run ``step``, with a ``close`` just before its ``line``-th line in netcore; False if it has
    fewer.
    """
    passed = 0
    threads = []

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal passed
        if not frame.f_code.co_filename.startswith(HERE):
            return None
        if event == "line":
            passed += 1
            if passed == line:
                sys.settrace(None)
                if by == "thread":
                    threads.append(close_in_thread(selector))
                else:
                    selector.close()
        return trace

    gc.disable()  # Else it would count the lines of some __del__.
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        step()
    except RuntimeError as error:
        if "closed" not in str(error):
            raise
    finally:
        sys.settrace(before)
        gc.enable()
    for thread in threads:
        thread.join(SOON)
        assert not thread.is_alive(), "close() hangs"
    return passed >= line


@pytest.mark.skipif(sys.platform == "win32", reason="counts descriptors")
@pytest.mark.parametrize("backend", ["epoll", "poll", "select"])
@pytest.mark.parametrize("by", ["thread", "handler"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_close_at_any_point_ends_what_is_going_on(backend: str, by: str, scenario: str) -> None:
    if backend not in netcore.available_backends():
        pytest.skip(f"{backend} is not available here")
    before, step = SCENARIOS[scenario]
    gc.collect()
    line = 1
    while True:
        opened = open_descriptors()
        it = Subject(backend)
        before(it)
        if not closed_at(line, by, it.selector, lambda: step(it)):  # noqa: B023
            break
        assert it.selector._disposed
        with pytest.raises(RuntimeError, match="closed"):
            it.selector.wait(0)
        if it.op is not None:  # Refused, or done: it can be submitted elsewhere.
            with Selector(backend) as other:
                other.submit(it.op)
                it.theirs.send(b"1")
                assert other.wait(SOON) == ([], [it.op])
        it.close()
        assert open_descriptors() == opened
        line += 1
    it.close()
    assert line > 1
