"""G. Completion: receiving on a stream."""

from __future__ import annotations

import array
import contextlib
import errno
import socket
import sys
import time
from typing import Any

import pytest

from netcore import Recv, RecvFrom, RecvInto, Selector

from .completions import (
    assert_nothing_done,
    done_by,
    finished,
    outcome,
    received,
)
from .rules import rule
from .tools import SOON, arrived, fill_up, sockets, tcp_pair

Ends = tuple[Any, Any]


@rule(90)
@sockets
def test_what_comes_later_is_received(selector: Selector, stream: Ends) -> None:
    """As bytes, no more than was asked for; the rest by the next one."""
    a, b = stream
    op = selector.submit(Recv(a, 4))
    assert_nothing_done(selector)
    b.send(b"012345")
    assert outcome(selector, op) == b"0123"
    assert type(op.result()) is bytes
    assert done_by(selector, Recv(a, 4)) == b"45"
    op = selector.submit(Recv(a, 4))
    assert_nothing_done(selector)
    b.send(b"6")
    assert outcome(selector, op) == b"6"


@rule(90)
@sockets
def test_what_is_there_already_is_received(selector: Selector, stream: Ends) -> None:
    """Whoever is told of news only must not wait for them."""
    a, b = stream
    for _ in range(3):
        b.send(b"01")
        arrived(a, 2)
        for expected in (b"0", b"1"):
            assert done_by(selector, Recv(a, 1)) == expected


@rule(90)
def test_large_messages_are_received_whole(selector: Selector, pair: Ends) -> None:
    """Again and again: however much a wait reads at most, the rest follows without further news."""
    a, b = pair
    sent = fill_up(b)
    arrived(a)
    assert len(received(selector, a, sent)) == sent
    assert_nothing_done(selector)


@rule(90)
def test_several_sockets_with_much_to_read_all_get_their_turn(selector: Selector) -> None:
    """Nobody starves behind one who always has more."""
    with contextlib.ExitStack() as opened:
        pairs = [[opened.enter_context(end) for end in tcp_pair()] for _ in range(8)]
        for _, b in pairs:
            fill_up(b)
        ops = [selector.submit(Recv(a, 1 << 16)) for a, _ in pairs]
        waiting, rounds = set(ops), 0
        while waiting:
            rounds += 1
            assert rounds < 100, "somebody starves"
            for op in selector.wait(SOON)[1]:
                assert op.result()
                waiting.discard(op)
                selector.submit(op)


@rule(90, platform="unix")
def test_what_is_behind_urgent_data_is_received(selector: Selector, pair: Ends) -> None:
    """recv() stops at the mark, short of what was asked for, and there will be no further news of
    what is behind it.
    """
    a, b = pair
    b.send(b"before")
    b.send(b"!", socket.MSG_OOB)
    b.send(b"behind")
    arrived(a)
    time.sleep(0.05)
    got = b""
    while len(got) < 12:
        got += done_by(selector, Recv(a, 100))
    assert got == b"beforebehind"


@rule(90, platform="unix")
@pytest.mark.parametrize("stream", ["unix"], indirect=True)
def test_what_is_behind_descriptors_is_received(selector: Selector, stream: Ends) -> None:
    """recv() stops behind bytes that descriptors came with, short of what was asked for."""
    a, b = stream
    rights = getattr(socket, "SCM_RIGHTS", 1)
    descriptors = array.array("i", [b.fileno()])
    b.sendmsg([b"first"], [(socket.SOL_SOCKET, rights, descriptors)])
    b.send(b"second")
    got = b""
    while len(got) < 11:
        got += done_by(selector, Recv(a, 100))
    assert got == b"firstsecond"


@rule(90)
@pytest.mark.parametrize("cls", [Recv, RecvFrom])
def test_too_much_room_ends_one_operation(selector: Selector, pair: Ends, cls: Any) -> None:
    """With the data, or for want of memory; the next one is served."""
    a, b = pair
    ops = [selector.submit(cls(a, sys.maxsize)), selector.submit(Recv(a, 10))]
    assert_nothing_done(selector, 0.01)
    for text in (b"x", b"y"):
        b.send(text)
        selector.wait(0.1)
    b.shutdown(socket.SHUT_WR)
    finished(selector, *[op for op in ops if not op.done])
    assert ops[0].error is None or ops[0].error.errno == errno.ENOMEM
    ops[1].result()


@rule(91)
@sockets
def test_the_end_of_a_stream_is_empty_again_and_again(selector: Selector, stream: Ends) -> None:
    """After the data before it, for those who wait already and for those who come later."""
    a, b = stream
    ops = [selector.submit(Recv(a, 10)) for _ in range(2)]
    assert_nothing_done(selector)
    b.send(b"last")
    b.shutdown(socket.SHUT_WR)
    assert finished(selector, *ops) == ops
    assert [op.result() for op in ops] == [b"last", b""]
    assert [done_by(selector, Recv(a, 10)) for _ in range(2)] == [b"", b""]
    assert done_by(selector, RecvInto(a, bytearray(1))) == 0
    assert_nothing_done(selector)


@rule(91)
@pytest.mark.parametrize("size", [4, 10])
@sockets
def test_an_end_that_came_with_data_is_received(
    selector: Selector, stream: Ends, size: int
) -> None:
    """There will be no further news: whether recv() has given all that was asked for or less."""
    a, b = stream
    if size == 10:
        selector.submit(Recv(a, 1))
        b.send(b"0")
        assert selector.wait(SOON)[1][0].result() == b"0"
    b.send(b"last")
    b.close()
    arrived(a, 4)
    time.sleep(0.02)
    assert [done_by(selector, Recv(a, size)) for _ in range(3)] == [b"last", b"", b""]


@rule(96)
@sockets
def test_those_who_receive_are_served_in_order(selector: Selector, stream: Ends) -> None:
    """As they were submitted, with consecutive data; whether it came before or after."""
    a, b = stream
    for early in (True, False):
        if early:
            b.send(b"0123456789")
            arrived(a, 10)
        buffer = bytearray(3)
        ops: list[Any] = [
            selector.submit(op)
            for op in (Recv(a, 2), RecvInto(a, buffer), Recv(a, 1), Recv(a, 2), Recv(a, 2))
        ]
        if not early:
            assert_nothing_done(selector)
            b.send(b"0123456789")
        assert finished(selector, *ops) == ops
        got = [op.result() for op in ops]
        assert got == [b"01", 3, b"5", b"67", b"89"]
        assert buffer == b"234"


@rule(96)
def test_those_who_receive_little_by_little_are_served_in_order(
    selector: Selector, pair: Ends
) -> None:
    """One after the other, while what they wait for comes."""
    a, b = pair
    ops = [selector.submit(Recv(a, 10)) for _ in range(5)]
    for number, op in enumerate(ops):
        b.send(b"%d" % number)
        assert outcome(selector, op) == b"%d" % number
        assert [other.done for other in ops] == [n <= number for n in range(5)]
