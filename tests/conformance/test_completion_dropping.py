"""H. Completion: references that are dropped while something is pending."""

from __future__ import annotations

import socket
import warnings
import weakref
from typing import Any

import pytest

from netcore import (
    Recv,
    RecvInto,
    Selector,
)
from netcore.contract import ReadinessBackend

from .completions import assert_nothing_done, collect, finished, is_pinned, pins
from .rules import rule
from .tools import SOON, arrived, tcp_pair

Pair = tuple[socket.socket, socket.socket]


class Data:
    """Something that can be found to be gone."""


def dropped(selector: Selector, sock: socket.socket) -> weakref.ref[Data]:
    """Submit something to which nobody has a reference then; what tells when it is gone."""
    data = Data()
    selector.submit(RecvInto(sock, bytearray(1 << 16), data=data))
    return weakref.ref(data)


@rule(117)
def test_what_is_pending_is_kept(selector: Selector, pair: Pair) -> None:
    """With all references to operation, buffer and socket dropped, it comes out; and is let go
    then.
    """
    a, b = pair
    c, d = tcp_pair()
    gone = [dropped(selector, a), dropped(selector, c)]
    del c
    collect()
    assert_nothing_done(selector)
    collect()
    assert all(ref() is not None for ref in gone)
    junk = [bytearray(1 << 16) for _ in range(50)]  # Where the buffers were, had they been freed.
    b.send(b"x" * 1000)
    d.send(b"y" * 1000)
    came: list[Any] = []
    while len(came) < 2:
        done = selector.wait(SOON)[1]
        assert done
        came += done
    for op in came:
        assert op.buffer[: op.result()] == (b"x" if op.subject is a else b"y") * op.result()
    assert not any(map(any, junk))
    if any(op.subject is not a for op in came):
        del op
    came.clear()
    done = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        collect()
    assert [ref() for ref in gone] == [None, None], "who came out is held by nobody"
    d.close()


@rule(117)
@pytest.mark.parametrize("end", ["cancel", "timeout", "close"])
def test_what_has_ended_is_let_go(selector: Selector, pair: Pair, end: str) -> None:
    """Whatever its end was."""
    data = Data()
    gone = weakref.ref(data)
    op = Recv(pair[0], 1, data=data, timeout=0.01 if end == "timeout" else 3600)
    del data
    selector.submit(op)
    if end == "cancel":
        selector.cancel(op)
    if end == "close":
        selector.close()
    else:
        finished(selector, op)
    assert op.done
    del op
    collect()
    if end == "cancel" and gone() is not None:
        # A deadline that is over may be looked at before it is forgotten; but not so many of them.
        for _ in range(300):
            selector.submit(op := Recv(pair[0], 1, timeout=3600))
            selector.cancel(op)
            finished(selector, op)
        collect()
    assert gone() is None


@rule(117)
@pins
def test_a_selector_that_is_dropped_lets_everything_go(
    backend: type[ReadinessBackend], pair: Pair
) -> None:
    """Never closed, with operations pending: no crash, and the buffer is free."""
    buffer = bytearray(8)
    selector = Selector(backend)
    selector.submit(RecvInto(pair[0], buffer))
    selector.wait(0)
    assert is_pinned(buffer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del selector
        collect()
    assert not is_pinned(buffer)
    pair[1].send(b"12345678")
    arrived(pair[0], 8)
    assert buffer == bytes(8)
    assert pair[0].recv(10) == b"12345678"
