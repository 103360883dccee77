"""H. Completion: pipes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from netcore import (
    EVENT_READ,
    OperationCancelled,
    Poll,
    Read,
    Selector,
    Write,
)

from .completions import (
    assert_nothing_done,
    done_by,
    finished,
    is_pinned,
    outcome,
    pattern,
    pins,
    pipe_ends,
    stuffed,
)
from .rules import rule

Pair = tuple[socket.socket, socket.socket]
SIZE = 3_000_001
CONTENT = pattern(SIZE)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The reading and the writing end of a pipe, non-blocking."""
    ends = pipe_ends()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:  # The test has.
            pass


@rule(121, pipes=True, platform="unix")
def test_a_pipe_is_read_and_written(selector: Selector, pipe: tuple[int, int]) -> None:
    """By number or by file object; what comes later, and what is there already; in order."""
    reader, writer = pipe
    ops = [selector.submit(Read(reader, 2)) for _ in range(2)]
    assert_nothing_done(selector)
    assert not any(op.done for op in ops)
    selector.submit(write := Write(writer, bytearray(b"0123")))
    assert [op for op in finished(selector, *ops, write) if op is not write] == ops
    assert [op.result() for op in ops] == [b"01", b"23"]
    assert write.result() == 4
    with open(writer, "wb", buffering=0, closefd=False) as file:
        assert done_by(selector, Write(file, b"x")) == 1
    assert done_by(selector, Read(reader, 10)) == b"x"
    assert_nothing_done(selector)


@rule(121, pipes=True, platform="unix")
@pytest.mark.parametrize("early", [False, True])
def test_the_end_of_a_pipe_is_empty(selector: Selector, pipe: tuple[int, int], early: bool) -> None:
    """After what was written before; again and again."""
    reader, writer = pipe
    op = Read(reader, 10)
    if not early:
        selector.submit(op)
        assert_nothing_done(selector)
    os.write(writer, b"last")
    os.close(writer)
    assert (done_by(selector, op) if early else outcome(selector, op)) == b"last"
    assert [done_by(selector, op) for _ in range(2)] == [b"", b""]
    assert_nothing_done(selector)


@rule(121, pipes=True, platform="unix")
@pytest.mark.parametrize("full", [False, True])
def test_a_pipe_whose_reader_is_gone_is_broken(
    selector: Selector, pipe: tuple[int, int], full: bool
) -> None:
    """BrokenPipeError, also for who waits for room."""
    from .tools import PipeEnd

    reader, writer = pipe
    op = Write(writer, b"x")
    if full:
        stuffed(PipeEnd(writer))
        selector.submit(op)
        assert_nothing_done(selector)
        os.close(reader)
    else:
        os.close(reader)
        selector.submit(op)
    with pytest.raises(BrokenPipeError):
        outcome(selector, op)
    assert_nothing_done(selector)


@rule(121, pipes=True, platform="unix")
@pins
def test_a_write_waits_for_room(selector: Selector, pipe: tuple[int, int]) -> None:
    """And holds its buffer; it can be cancelled, and has written nothing then."""
    from .tools import PipeEnd

    reader, writer = pipe
    under_way = stuffed(PipeEnd(writer))
    buffer = bytearray(b"more")
    gone, op = selector.submit(Write(writer, b"gone")), selector.submit(Write(writer, buffer))
    assert_nothing_done(selector)
    assert is_pinned(buffer)
    assert selector.cancel(gone)
    finished(selector, gone)
    assert isinstance(gone.error, OperationCancelled)
    while under_way:
        under_way -= len(os.read(reader, under_way))
    assert outcome(selector, op) == 4
    assert not is_pinned(buffer)
    assert done_by(selector, Read(reader, 10)) == b"more"


@rule(121, pipes=True, platform="unix")
def test_a_cancelled_read_takes_nothing(selector: Selector, pipe: tuple[int, int]) -> None:
    """And one that takes too long ends with TimeoutError."""
    reader, writer = pipe
    op = selector.submit(Read(reader, 1))
    assert_nothing_done(selector, 0.01)
    assert selector.cancel(op)
    with pytest.raises(OperationCancelled):
        outcome(selector, op)
    op.timeout = 0.02
    with pytest.raises(TimeoutError):
        done_by(selector, op)
    os.write(writer, b"x")
    assert done_by(selector, op) == b"x"


@rule(121, pipes=True, platform="unix")
def test_a_blocking_pipe_is_refused(selector: Selector, pipe: tuple[int, int]) -> None:
    """ValueError; so is a number that is not open, with OSError."""
    reader, writer = pipe
    for op in (Read(reader, 1), Write(writer, b"x")):
        os.set_blocking(op.subject, True)  # type: ignore[arg-type]
        for _ in range(2):
            with pytest.raises(ValueError, match="blocking"):
                selector.submit(op)
        os.set_blocking(op.subject, False)  # type: ignore[arg-type]
        selector.submit(op)
        selector.cancel(op)
        finished(selector, op)
    os.close(reader)
    for wrong in (Read(reader, 1), Write(reader, b"x"), Poll(reader, EVENT_READ)):
        for _ in range(2):
            with pytest.raises((OSError, ValueError)):
                selector.submit(wrong)
    assert_nothing_done(selector, 0.01)


@rule(121, platform="windows")
def test_pipes_are_refused_or_work(selector: Selector, backend: Any) -> None:
    """ValueError or OSError for a pipe that was not opened for overlapped calls."""
    reader, writer = os.pipe()
    for op in (Read(reader, 1), Write(writer, b"x")):
        with pytest.raises((ValueError, OSError)):
            selector.submit(op)
    os.close(reader)
    os.close(writer)
    assert_nothing_done(selector, 0.01)
