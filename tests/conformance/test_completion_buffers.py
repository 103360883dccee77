"""G. Completion: buffers are the selector's until the operation has come out."""

from __future__ import annotations

import array
from typing import Any

import pytest

from netcore import RecvInto, Selector, Send

from .completions import (
    assert_nothing_done,
    done_by,
    finished,
    is_pinned,
    outcome,
    pattern,
    pins,
)
from .rules import rule
from .tools import SOON, arrived, assert_same, in_thread, reset, sockets

Ends = tuple[Any, Any]


@rule(93)
@sockets
def test_bytes_are_received_into_the_buffer(selector: Selector, stream: Ends) -> None:
    """The result is how many; those beyond stay as they were."""
    a, b = stream
    buffer = bytearray(b"abcdefgh")
    op = selector.submit(RecvInto(a, buffer))
    assert_nothing_done(selector)
    b.send(b"012")
    assert outcome(selector, op) == 3
    assert buffer == b"012defgh"
    b.send(b"345678")
    assert done_by(selector, RecvInto(a, memoryview(buffer)[5:7])) == 2
    assert buffer == b"012de34h"
    assert done_by(selector, op) == 4
    assert buffer == b"5678e34h"


@rule(93)
def test_a_buffer_of_larger_items_counts_in_bytes(selector: Selector, pair: Ends) -> None:
    """An array, or a view of several dimensions."""
    a, b = pair
    numbers = array.array("i", [0, 0, 0])
    size = numbers.itemsize
    b.send(array.array("i", [1, 2]).tobytes())
    arrived(a, 2 * size)
    assert done_by(selector, RecvInto(a, numbers)) == 2 * size
    assert list(numbers) == [1, 2, 0]
    assert done_by(selector, Send(b, numbers)) == 3 * size
    arrived(a, 3 * size)
    plane = memoryview(bytearray(4 * size)).cast("B", (2, 2 * size))
    assert done_by(selector, RecvInto(a, plane)) == 3 * size
    assert plane.tobytes()[: 3 * size] == numbers.tobytes()


@rule(93)
@pins
@pytest.mark.parametrize("end", ["data", "end", "reset", "cancel", "timeout"])
def test_the_buffer_cannot_be_resized_until_it_has_come_out(
    selector: Selector, pair: Ends, end: str
) -> None:
    """BufferError while the kernel may write to it, whatever its end is; then it is free."""
    a, b = pair
    buffer = bytearray(10)
    op = RecvInto(a, buffer, timeout=0.1 if end == "timeout" else None)
    for _ in range(2):
        assert not is_pinned(buffer)
        selector.submit(op)
        assert is_pinned(buffer)
        assert selector.wait(0.01) == ([], []) or end == "reset" or end == "end"
        assert is_pinned(buffer) or op.done
        if end == "data":
            b.send(b"x")
        elif end == "end":
            b.close()
        elif end == "reset" and b.fileno() != -1:
            reset(b)
        elif end == "cancel":
            assert selector.cancel(op)
            assert is_pinned(buffer)
        if not op.done:
            assert selector.select(SOON) == []
            assert is_pinned(buffer), "select() keeps it, and nobody has it yet"
            finished(selector, op)
        assert not is_pinned(buffer)


@rule(93)
def test_much_is_received_into_one_buffer(selector: Selector, pair: Ends) -> None:
    """Piece by piece, where each belongs."""
    a, b = pair
    content = pattern(1 << 20)
    buffer = bytearray(len(content))
    got = 0
    b.setblocking(True)
    with in_thread(lambda: b.sendall(content)), memoryview(buffer) as view:
        while got < len(content):
            with view[got:] as rest:
                count = done_by(selector, RecvInto(a, rest))
            assert count > 0
            got += count
    assert_same(buffer, content)
