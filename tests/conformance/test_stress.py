"""E. Stress: many threads change what one thread waits for."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from contextlib import ExitStack, suppress

from netcore import EVENT_READ, EVENT_WRITE, Selector

from .rules import rule
from .tools import SOON, in_thread

#: Seconds. The longer, the rarer the races that are found.
LASTING = float(os.environ.get("NETCORE_STRESS", "2"))


class Worker:
    """A thread with a socket pair of its own: registers, changes, sends, unregisters."""

    def __init__(self, selector: Selector, number: int) -> None:
        self.selector = selector
        self.random = random.Random(number)
        self.ours, self.peer = socket.socketpair()
        self.ours.setblocking(False)
        self.sent = self.received = 0

    def read(self) -> None:
        """Called by the one thread that waits."""
        with suppress(BlockingIOError):
            while got := len(self.ours.recv(100)):
                self.received += got

    def send(self) -> None:
        self.sent += self.peer.send(b"x" * self.random.randint(1, 50))

    def run(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            self.round()

    def round(self) -> None:
        selector, ours, choose = self.selector, self.ours, self.random.choice
        if choose((True, False)):
            self.send()
        selector.register(ours, choose((EVENT_READ, EVENT_READ | EVENT_WRITE, 0)), self)
        for _ in range(self.random.randint(0, 3)):
            selector.modify(ours, choose((EVENT_READ, EVENT_WRITE, 0)), self)
            if choose((True, False)):
                self.send()
        if choose((True, False)):
            selector.modify(ours, EVENT_READ, self)
            self.until_read()
        assert selector.unregister(ours).data is self

    def until_read(self) -> None:
        """All that was sent is read, without anything further from us."""
        deadline = time.monotonic() + SOON
        while self.received < self.sent:
            assert time.monotonic() < deadline, f"{self.received} of {self.sent} bytes"
            time.sleep(0)

    def close(self) -> None:
        self.ours.close()
        self.peer.close()


@rule(81)
def test_eight_threads_change_what_one_thread_waits_for(selector: Selector) -> None:
    """No exception and no missed byte, for 2 s (seconds in NETCORE_STRESS)."""
    over = threading.Event()

    def wait() -> None:
        while not over.is_set():
            for key, events in selector.select(SOON):
                assert events
                key.data.read()

    workers = [Worker(selector, number) for number in range(8)]
    deadline = time.monotonic() + LASTING
    with in_thread(wait) as waited:
        try:
            with ExitStack() as threads:
                outcomes = [
                    threads.enter_context(in_thread(lambda worker=worker: worker.run(deadline)))
                    for worker in workers
                ]
        finally:
            over.set()
            selector.wakeup()
    assert outcomes == [[None]] * 8
    assert waited == [None]
    assert len(selector.get_map()) == 0
    for worker in workers:
        worker.read()
        assert worker.received == worker.sent > 0
        worker.close()
