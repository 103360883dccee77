"""What another thread or a signal handler does at a chosen moment in the middle of netcore."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from conformance.completions import assert_nothing_done, finished, in_use, outcome
from conformance.tools import SOON, in_thread, tcp_pair, until_waiting

import netcore
from netcore import EVENT_HANGUP, Recv, Selector
from netcore._agenda import Agenda
from netcore._channels import Channel
from netcore._emulation import CompletionOverReadiness
from netcore._progress import Progress
from netcore._threads import ATOMIC
from netcore.backends.select import Select

Pair = tuple[socket.socket, socket.socket]

if "epoll" not in netcore.available_backends():
    pytest.skip(
        "it takes the hot paths, which need an edge-triggered backend", allow_module_level=True
    )


plain = pytest.mark.skipif(not ATOMIC, reason="no wait is plain on this interpreter")


@pytest.fixture
def selector() -> Iterator[Selector]:
    with Selector("epoll") as selector:
        yield selector


@pytest.fixture
def pair() -> Iterator[Pair]:
    a, b = tcp_pair()
    a.setblocking(False)
    with a, b:
        yield a, b


def until_plain(selector: Selector) -> None:
    driver: Any = selector._driver
    while not driver.plain:
        assert_nothing_done(selector, 0.01)


def test_a_cancel_while_others_begin_is_not_forgotten(
    selector: Selector, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    recv = selector.submit(Recv(pair[0], 10))
    assert_nothing_done(selector)
    begin = Agenda._start

    def start(self: Any, operation: Any) -> None:
        begin(self, operation)
        selector.cancel(recv)

    monkeypatch.setattr(Agenda, "_start", start)
    finished(selector, selector.post(), recv)
    assert isinstance(recv.error, netcore.OperationCancelled)


def test_an_exception_while_a_channel_is_dropped_loses_no_operation(
    selector: Selector, pair: Pair
) -> None:
    """In each of its steps."""
    a, b = pair
    driver: Any
    for count in range(4):
        recv = selector.submit(Recv(a, 10))
        b.send(b"x")
        assert outcome(selector, recv) == b"x"
        driver = selector._driver
        channels = driver._channels
        by_fd, dirty = channels.by_fd, channels.dirty
        channels.by_fd = Raising(by_fd, before=count == 0, after=count == 1)
        channels.dirty = Raising(dirty, before=count == 2, after=count == 3)
        with pytest.raises(ZeroDivisionError):
            selector.register(a, netcore.EVENT_WRITE)
        channels.by_fd, channels.dirty = dict(channels.by_fd), dict(channels.dirty)
        if a in selector.get_map():
            selector.unregister(a)
        selector.submit(recv)
        b.send(b"y")
        assert outcome(selector, recv) == b"y"


def test_a_change_while_select_makes_its_lists_is_not_lost(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A register of another thread, in the wait that is running."""
    a, b = pair
    make = Select._make_lists
    with Selector("select") as selector:
        threads = [threading.Thread(target=selector.register, args=(b, netcore.EVENT_WRITE))]

        def make_lists(self: Any) -> Any:
            lists = make(self)
            while threads:
                thread = threads.pop()
                thread.start()
                thread.join()
            return lists

        selector.register(a, netcore.EVENT_READ)
        monkeypatch.setattr(Select, "_make_lists", make_lists)
        ready = selector.select(SOON) or selector.select(SOON)
        assert [key.fileobj for key, _ in ready] == [b]


class Raising(dict):  # type: ignore[type-arg]
    """A handler of a signal raises while something is taken out."""

    def __init__(self, those: Any, before: bool, after: bool) -> None:
        super().__init__(those)
        self.before, self.after = before, after

    def pop(self, *arguments: Any) -> Any:
        before, after, self.before, self.after = self.before, self.after, False, False
        if before:
            raise ZeroDivisionError
        found = super().pop(*arguments)
        if after:
            raise ZeroDivisionError
        return found


def test_what_is_submitted_while_its_socket_is_registered_is_done(
    selector: Selector, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    recv, _ = in_use(selector, pair)
    drop = Progress._drop

    def submitting(self: Any, *arguments: Any) -> None:
        with in_thread(lambda: selector.submit(recv)):
            pass
        drop(self, *arguments)

    monkeypatch.setattr(Progress, "_drop", submitting)
    over = threading.Event()
    with in_thread(over.wait):  # So that threads are reckoned with.
        selector.register(pair[0], EVENT_HANGUP)
        over.set()
    monkeypatch.undo()
    pair[1].send(b"x")
    assert outcome(selector, recv) == b"x"


@plain
def test_what_a_handler_sends_ends_the_wait(selector: Selector, pair: Pair) -> None:
    _, send = in_use(selector, pair)
    driver: Any = selector._driver
    native_wait = driver.native_wait

    def interrupted(timeout: float, room: int) -> Any:
        driver.native_wait = native_wait
        selector.submit(send)
        pairs = native_wait(timeout, room)
        assert pairs, "nothing has woken it"
        return pairs

    until_plain(selector)
    driver.native_wait = interrupted
    assert selector.wait(SOON) == ([], [send])


@plain
def test_what_a_handler_sends_just_before_the_wait_comes_out(
    selector: Selector, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, send = in_use(selector, pair)
    driver: Any = selector._driver
    until_plain(selector)

    def monotonic() -> float:
        monkeypatch.undo()
        selector.submit(send)
        return time.monotonic()

    def waits(*_: object) -> None:
        raise AssertionError("it waits")

    monkeypatch.setattr("netcore._submission.monotonic", monotonic)
    monkeypatch.setattr(driver, "native_wait", waits)
    assert selector.wait(SOON) == ([], [send])


@plain
def test_a_wait_that_begins_something_ends_in_time(selector: Selector, pair: Pair) -> None:
    recv, _ = in_use(selector, pair)
    driver: Any = selector._driver
    native_wait = driver.native_wait

    def meanwhile(timeout: float, room: int) -> Any:
        driver.native_wait = native_wait
        with in_thread(lambda: selector.submit(recv)):
            pass
        with in_thread(lambda: selector.submit(Recv(pair[0], 1))):
            pass
        return native_wait(timeout, room)

    until_plain(selector)
    driver.native_wait = meanwhile
    assert selector.wait(1.1) == ([], [])


@plain
def test_a_cancel_while_it_is_sent_is_not_of_the_next_time(selector: Selector, pair: Pair) -> None:
    """Another thread has asked for it in time, and the operation was faster."""
    _, send = in_use(selector, pair)
    driver: Any = selector._driver
    until_plain(selector)
    call = send._call
    asked = []

    def cancelled_meanwhile(*arguments: Any) -> Any:
        send._call = call
        with in_thread(lambda: asked.append(selector.cancel(send))):
            pass
        return call(*arguments)  # type: ignore[misc]

    send._call = cancelled_meanwhile  # type: ignore[assignment]
    selector.submit(send)
    while not send.done:
        driver.owed = False
        selector.wait(SOON)
    for _ in range(3):
        finished(selector, selector.submit(send))
        assert send.result() == 4
    assert asked == [True]


def test_what_is_submitted_just_before_the_end_is_cancelled(
    selector: Selector, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another thread, in the middle of ``submit``: nobody would ever wait for it."""
    selector.wait(0)
    finished(selector, selector.post())
    keep_order = CompletionOverReadiness.keep_order

    def closing(self: Any, operation: Any) -> None:
        with in_thread(selector.close):
            pass
        keep_order(self, operation)

    monkeypatch.setattr(CompletionOverReadiness, "keep_order", closing)
    recv = selector.submit(Recv(pair[0], 10))
    assert recv.done
    assert isinstance(recv.error, netcore.OperationCancelled)


@plain
def test_a_receive_of_a_handler_is_not_overtaken(
    selector: Selector, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one that comes out of the wait that the handler has interrupted."""
    monkeypatch.setattr("netcore._submission.other_threads", [].copy)  # In C, as the real one.
    recv, _ = in_use(selector, pair)
    driver: Any = selector._driver
    native_wait = driver.native_wait
    other = Recv(pair[0], 1)

    def interrupted(timeout: float, room: int) -> Any:
        driver.native_wait = native_wait
        pair[1].send(b"1")
        pairs = native_wait(timeout, room)
        selector.submit(other)
        return pairs

    until_plain(selector)
    selector.submit(recv)
    driver.native_wait = interrupted
    assert outcome(selector, recv) == b"1"
    selector.submit(recv)
    pair[1].send(b"2")
    assert outcome(selector, other) == b"2"
    pair[1].send(b"3")
    assert outcome(selector, recv) == b"3"


@plain
def test_two_threads_do_not_get_into_a_wait(
    selector: Selector, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one comes in where this one has looked already."""
    in_use(selector, pair)
    other = threading.Thread(target=lambda: selector.wait(None))

    def monotonic() -> float:
        monkeypatch.undo()
        other.start()
        until_waiting(selector)
        return time.monotonic()

    monkeypatch.setattr("netcore._submission.monotonic", monotonic)
    until_plain(selector)
    try:
        with pytest.raises(RuntimeError, match="another thread"):
            selector.wait(1.5)
    finally:
        selector.wakeup()
        other.join()


@pytest.mark.parametrize("step", ["append", "is_of"])
def test_a_handler_that_registers_what_is_about_to_be_begun_loses_nothing(
    selector: Selector, pair: Pair, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The channel that was looked up is not the right one any more."""
    recv, _ = in_use(selector, pair)
    untouched = getattr(Channel, step)

    def registering(self: Any, *arguments: Any) -> Any:
        monkeypatch.undo()
        key = selector.register(pair[0], netcore.EVENT_READ)
        keys.append(key)
        return untouched(self, *arguments)

    keys: list[Any] = []
    new = selector.submit(Recv(pair[0], 10, timeout=2 * SOON))
    monkeypatch.setattr(Channel, step, registering)
    assert_nothing_done(selector)
    pair[1].send(b"x")
    while not new.done:
        ready, _ = selector.wait(SOON)
        assert ready == [(keys[0], netcore.EVENT_READ)] or new.done
    assert new.result() == b"x"
    assert recv.done


@pytest.mark.parametrize("raises", [False, True])
def test_what_a_handler_posts_while_the_first_operation_is_submitted_comes_out(
    selector: Selector, pair: Pair, monkeypatch: pytest.MonkeyPatch, raises: bool
) -> None:
    """It is the first one then; and a second time in the midst of that, from which it raises."""
    posts: list[Any] = []
    make = CompletionOverReadiness.__init__

    def posting(self: Any, *arguments: Any) -> None:
        monkeypatch.undo()
        if raises:
            monkeypatch.setattr(CompletionOverReadiness, "raw", raising)
        else:
            posts.append(selector.post("posted"))
        make(self, *arguments)

    def raising(self: Any) -> Any:
        monkeypatch.undo()
        posts.append(selector.post("posted"))
        raise ZeroDivisionError

    monkeypatch.setattr(CompletionOverReadiness, "__init__", posting)
    pair[1].send(b"x")
    recv = Recv(pair[0], 10)
    with pytest.raises(ZeroDivisionError) if raises else nullcontext():
        selector.submit(recv)
    if raises:
        selector.submit(recv)
    finished(selector, recv, *posts)
    assert (recv.result(), posts[0].result()) == (b"x", "posted")
