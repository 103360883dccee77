"""Sockets come and go in several threads while one waits: nothing is lost, stale or leaked."""

from __future__ import annotations

import itertools
import random
import threading
import time
from typing import Any

import pytest
from conformance.system import descriptors
from conformance.tools import SOON, fill, in_thread, reset, tcp_pair
from conformance.wine import version

import netcore
from netcore import EVENT_READ, EVENT_WRITE, ONESHOT

BACKENDS = netcore.available_backends()
if "epoll" in BACKENDS:
    BACKENDS.append("stacked:Stacked")
MODES = [0, ONESHOT]
# Wine 8: a poll of a number that is being made into a socket again ends the whole server
# (server/fd.c, set_fd_events: "Assertion `poll_users[user] == fd' failed"; server/sock.c,
# socket_open_file gives it a pseudo fd until IOCTL_AFD_WINE_CREATE). Windows has no such state.
WINE = version()
THREADS, SECONDS = 4, 3.0


class Token:
    """The data of one registration."""

    def __init__(self) -> None:
        self.told = threading.Event()
        self.events = 0
        #: The moment from which on nothing may be told any more.
        self.dead: int | None = None


class Churn:
    """One selector, one waiter, and threads that change what it waits for."""

    def __init__(self, selector: netcore.Selector) -> None:
        self.selector = selector
        self.moments = itertools.count()
        self.over = False
        self.turns = 0

    def wait(self) -> None:
        while not self.over:
            began = next(self.moments)
            for key, events in self.selector.select(0.5):
                token = key.data
                assert token.dead is None or token.dead > began, "told after it was taken away"
                token.events |= events
                token.told.set()
                # As it would be told again and again.
                with_suppress(self.selector.modify, key.fileobj, 0, token)

    def change(self, seed: int) -> None:
        choose = random.Random(seed)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            self.turn(choose)
            self.turns += 1

    def turn(self, choose: random.Random) -> None:
        a, b = tcp_pair()
        token, selector = Token(), self.selector
        mode = choose.choice(MODES)
        if choose.random() < 0.3:
            fill(a)
            selector.register(a, EVENT_WRITE | mode, token)
            selector.modify(a, EVENT_READ | mode, token)
        elif choose.random() < 0.3:
            selector.register(a, 0, token)
            selector.modify(a, EVENT_READ | mode, token)
        else:
            selector.register(a, EVENT_READ | mode, token)
        news = choose.choice(["data", "end", "reset", "none"])
        if news == "data":
            b.send(b"x")
        elif news == "end":
            b.close()
        elif news == "reset":
            reset(b)
        if news != "none":
            assert token.told.wait(SOON), f"{news} was lost"
            assert token.events == EVENT_READ
        if WINE or choose.random() < 0.5:
            selector.unregister(a)
            token.dead = next(self.moments)
            a.close()
        else:  # The wrong way round, which must do no harm.
            a.close()
            # Another thread may have got the number, and with it the place of this key.
            with_suppress(selector.unregister, a)
            token.dead = next(self.moments)
        b.close()


def with_suppress(function: Any, *arguments: Any) -> None:
    try:
        function(*arguments)
    except (KeyError, ValueError, OSError):
        pass  # It was unregistered or closed meanwhile.


def warm_up(selector: netcore.Selector) -> None:
    """What is opened with the first socket stays open."""
    a, b = tcp_pair()
    selector.register(a, EVENT_READ)
    selector.select(0)
    selector.unregister(a)
    selector.select(0)
    a.close()
    b.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_sockets_come_and_go_while_a_thread_waits(backend: str) -> None:
    """What is sent is told within seconds, under the registration that it is for; afterwards
    there are no more descriptors than before.
    """
    with netcore.Selector(backend) as selector:
        warm_up(selector)
        before = len(descriptors())
        churn = Churn(selector)
        with in_thread(churn.wait) as waited:
            threads = [in_thread(lambda n=n: churn.change(n)) for n in range(THREADS)]
            outcomes = [thread.__enter__() for thread in threads]
            for thread in threads:
                thread.__exit__(None, None, None)
            churn.over = True
            selector.wakeup()
        assert waited == [None]
        assert outcomes == [[None]] * THREADS
        assert churn.turns > THREADS
        assert not selector.get_map()
        assert selector.select(0.05) == []
        assert len(descriptors()) <= before
