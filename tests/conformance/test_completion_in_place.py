"""G. Completion: new operations for each message, which come after one that is done."""

from __future__ import annotations

import contextlib
import socket
import time
import weakref
from typing import Any

import pytest

from netcore import Operation, Recv, Selector, SendAll

from .completions import assert_nothing_done, collect, done_by, finished, in_use, outcome
from .rules import rule
from .system import pair_with_number
from .tools import SOON, Subject, arrived, assert_same

Pair = tuple[socket.socket, socket.socket]


class Data:
    """Something that weak references can be made to."""


@rule(89)
def test_new_ones_do_what_the_last_ones_did(selector: Selector, pair: Pair) -> None:
    """With sizes and buffers of their own."""
    a, b = pair
    in_use(selector, pair)
    for turn in range(1, 20):
        text = bytes([turn]) * turn
        recv = selector.submit(Recv(a, turn, data=turn))
        assert not recv.done
        assert_nothing_done(selector)
        b.send(text + b"more")
        assert outcome(selector, recv) == text
        assert recv.data == turn
        rest = selector.submit(Recv(a, 100))
        assert outcome(selector, rest) == b"more"
        send = selector.submit(SendAll(a, text))
        assert not send.done
        assert outcome(selector, send) == turn
        arrived(b, turn)
        assert b.recv(100) == text
    assert recv.result() != rest.result(), "what came out before stays what it is"


@rule(96)
def test_new_ones_take_their_turn(selector: Selector, pair: Pair) -> None:
    """Behind those that are pending, new or in use."""
    a, b = pair
    recv, _ = in_use(selector, pair)
    ops = [selector.submit(op) for op in (Recv(a, 1), Recv(a, 1), recv)]
    b.send(b"1234")
    finished(selector, *ops)
    assert [op.result() for op in ops] == [b"1", b"2", b"34"]


@rule(97)
def test_a_new_send_that_does_not_go_at_once_goes_on(selector: Selector, pair: Pair) -> None:
    """Those after it wait for it."""
    a, b = pair
    in_use(selector, pair)
    big = bytes(range(256)) * 40_000
    ops = [selector.submit(SendAll(a, part)) for part in (big, b"second", b"third")]
    came = bytearray()
    total = len(big) + len(b"secondthird")
    while len(came) < total:
        selector.wait(0)
        with contextlib.suppress(BlockingIOError, TimeoutError):
            b.settimeout(0.01)
            came += b.recv(1 << 20)
    assert_same(came, big + b"second" + b"third")
    finished(selector, *(op for op in ops if not op.done))
    assert [op.result() for op in ops] == [len(big), 6, 5]


@rule(94)
@pytest.mark.parametrize("how", ["closed", "detached", "blocking"])
def test_new_ones_are_refused_on_a_socket_that_is_not_what_it_was(
    selector: Selector, pair: Pair, how: str
) -> None:
    """OSError or ValueError from ``submit``, and nothing will come out."""
    a, _ = pair
    in_use(selector, pair)
    with contextlib.ExitStack() as opened:
        if how == "closed":
            a.close()
        elif how == "detached":
            opened.enter_context(socket.socket(fileno=a.detach()))
        else:
            a.setblocking(True)
        for op in (Recv(a, 100), SendAll(a, b"x")):
            with pytest.raises((OSError, ValueError)):
                selector.submit(op)
        assert_nothing_done(selector)


@rule(94)
def test_new_ones_on_another_socket_with_the_number_are_its_own(
    selector: Selector, pair: Pair
) -> None:
    """What was kept of the old socket is not used."""
    in_use(selector, pair)
    number = pair[0].fileno()
    pair[0].close()
    with pair_with_number(number) as (a, b):
        recv = selector.submit(Recv(a, 100))
        send = selector.submit(SendAll(a, b"to the other"))
        b.send(b"from the other")
        finished(selector, recv, send)
        assert recv.result() == b"from the other"
        arrived(b, 12)
        assert b.recv(100) == b"to the other"


@rule(89)
def test_new_ones_for_another_selector_are_its_own(subject: Subject, pair: Pair) -> None:
    """A socket may be used in two of them, one after the other."""
    selector, other = subject.new(), subject.new()
    in_use(selector, pair)
    in_use(other, pair)
    for turn, user in enumerate((selector, other, selector, other)):
        recv = user.submit(Recv(pair[0], 100))
        pair[1].send(bytes([turn]))
        assert outcome(user, recv) == bytes([turn])
        assert_nothing_done(selector)
        assert_nothing_done(other)


@rule(117)
def test_the_last_one_is_let_go(selector: Selector, pair: Pair) -> None:
    """With its data, though nothing else comes after it on its socket."""
    a, b = pair
    in_use(selector, pair)
    recv, send = Recv(a, 100, data=Data()), SendAll(a, b"x", data=Data())
    gone = [weakref.ref(op.data) for op in (recv, send)]
    selector.submit(recv)
    assert_nothing_done(selector)
    b.send(b"x")
    finished(selector, recv)
    finished(selector, selector.submit(send))
    del recv, send
    deadline = time.monotonic() + SOON
    while any(ref() for ref in gone):
        assert time.monotonic() < deadline
        assert selector.wait(0.1) == ([], [])
        collect()


@rule(89)
@pytest.mark.parametrize("kind", [Recv, SendAll])
def test_one_that_was_refused_leaves_nothing_to_the_next(
    selector: Selector, pair: Pair, kind: type[Operation]
) -> None:
    """Be it in use or new, and whether the next one is the same or another."""
    a, b = pair
    recv, send = in_use(selector, pair)
    used: Any = recv if kind is Recv else send
    new: Any = Recv(a, 100) if kind is Recv else SendAll(a, b"old")
    for op in (used, new):
        op.timeout = "bad"
        with pytest.raises(TypeError):
            selector.submit(op)
        op.timeout = None
        for other in (Recv(a, 100) if kind is Recv else SendAll(a, b"other"), op):
            if kind is Recv:
                b.send(b"data")
                assert done_by(selector, other) == b"data"
            else:
                other.buffer = b"new message"
                assert done_by(selector, other) == 11
                arrived(b, 11)
                assert b.recv(100) == b"new message"
