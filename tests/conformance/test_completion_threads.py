"""G. Completion: those who come in from other threads."""

from __future__ import annotations

import itertools
import random
import socket
import threading
import time
from typing import Any

import pytest

from netcore import Operation, Poll, Post, Recv, Selector, Send, SendAll

from .completions import assert_nothing_done, finished, hurried_switches
from .rules import rule
from .tools import SOON, Subject, in_thread, tcp_pair, until_waiting

Pair = tuple[socket.socket, socket.socket]


@rule(106)
def test_what_is_submitted_during_a_wait_is_done_in_it(selector: Selector, pair: Pair) -> None:
    """Without a wake-up, and without the wait coming back in between; ready now or later; whatever
    was there when it began.
    """
    a, b = pair
    for early in (False, True, False):
        op = Recv(a, 1)
        with in_thread(lambda: selector.wait(None)) as out:
            until_waiting(selector)
            if early:
                b.send(b"x")
            selector.submit(op)
            if not early:
                time.sleep(0.02)
                assert out == []
                b.send(b"x")
        assert out == [([], [op])]
        assert op.result() == b"x"


@rule(106)
@pytest.mark.parametrize("timeout", [None, 2 * SOON])
@pytest.mark.parametrize("kind", ["send", "poll", "post", "timeout"])
def test_every_kind_reaches_a_wait_that_is_running(
    selector: Selector, pair: Pair, kind: str, timeout: float | None
) -> None:
    """Also a deadline, which ends it earlier than it had expected."""
    a, _ = pair
    op: Operation = Post()
    if kind == "send":
        op = Send(a, b"x")
    elif kind == "poll":
        op = Poll(a, 2)
    elif kind == "timeout":
        op = Recv(a, 1, timeout=0.05)
    with in_thread(lambda: selector.wait(timeout)) as out:
        until_waiting(selector)
        selector.submit(op)
    assert out == [([], [op])]
    assert isinstance(op.error, TimeoutError) if kind == "timeout" else op.error is None


@rule(106)
def test_many_threads_submit_while_one_waits(selector: Selector) -> None:
    """Each on its own sockets, as fast as it can: every message arrives, in order."""
    pairs = [tcp_pair() for _ in range(4)]
    count = 200
    lanes = {op: pairs[n] for n in range(4) for op in [Recv(pairs[n][0], 100, data=bytearray())]}

    def send(sock: socket.socket) -> None:
        for n in range(count):
            selector.submit(SendAll(sock, n.to_bytes(2, "big")))

    for op in lanes:
        selector.submit(op)
    threads = [threading.Thread(target=send, args=(b,)) for _, b in pairs]
    for thread in threads:
        thread.start()
    sent = 0
    deadline = time.monotonic() + 2 * SOON
    while sent < 4 * count or any(len(op.data) < 2 * count for op in lanes):
        assert time.monotonic() < deadline
        for done in selector.wait(SOON)[1]:
            if isinstance(done, Recv):
                done.data.extend(done.result())
                selector.submit(done)
            else:
                assert done.result() == 2
                sent += 1
    expected = b"".join(n.to_bytes(2, "big") for n in range(count))
    assert [bytes(op.data) for op in lanes] == [expected] * 4
    for thread in threads:
        thread.join()
    for op in lanes:
        selector.cancel(op)
    finished(selector, *lanes)
    for ends in pairs:
        for end in ends:
            end.close()


@rule(107)
def test_what_is_posted_by_threads_comes_out_in_their_order(selector: Selector) -> None:
    """Once each, while another thread waits."""
    count, rng = 500, random.Random(107)

    def post(number: int) -> None:
        for n in range(count):
            selector.post((number, n))
            if rng.random() < 0.05:
                time.sleep(0.0002)

    threads = [threading.Thread(target=post, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    came: list[Any] = []
    while len(came) < 4 * count:
        done = selector.wait(SOON)[1]
        assert done, "posted, and never came out"
        came += [op.result() for op in done]
    for thread in threads:
        thread.join()
    for number in range(4):
        assert [n for thread, n in came if thread == number] == list(range(count))
    assert_nothing_done(selector)


@rule(107)
def test_what_is_submitted_while_the_selector_is_closed_writes_to_nobody(
    subject: Subject,
) -> None:
    """The number of its wake-up channel may be somebody else's by then."""
    for _ in range(40):
        selector = subject.new()
        selector.post()
        pairs: list[Any] = []
        out: list[Exception] = []

        def until_closed(call: Any, selector: Any = selector, out: Any = out) -> None:
            try:
                while True:
                    call(selector)
            except RuntimeError as error:
                out.append(error)

        def wait(selector: Any, pairs: Any = pairs) -> None:
            try:
                selector.wait(SOON)
            except RuntimeError:
                pairs += [socket.socketpair() for _ in range(6)]  # Those take its numbers.
                raise

        calls = (Selector.post, Selector.post, wait)
        threads = [threading.Thread(target=until_closed, args=(call,)) for call in calls]
        with hurried_switches():
            for thread in threads:
                thread.start()
            until_waiting(selector)
            time.sleep(0.0005)
            selector.close()
            for thread in threads:
                thread.join(SOON)
        assert len(out) == 3
        socks = list(itertools.chain(*pairs))
        for sock in socks:
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(10)
        for sock in socks:
            sock.close()


@rule(107)
def test_a_post_ends_a_wait_without_timeout(selector: Selector) -> None:
    """Of a selector that knew of no operations until then."""
    with in_thread(lambda: selector.wait(None)) as out:
        until_waiting(selector)
        op = selector.post(1)
    assert out == [([], [op])]
