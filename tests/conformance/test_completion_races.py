"""H. Completion: cancels, timeouts and data race by the thousand."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from netcore import (
    Operation,
    OperationCancelled,
    Recv,
    RecvInto,
    Selector,
)

from .completions import (
    assert_nothing_done,
    finished,
    hurried_switches,
    received,
)
from .rules import rule
from .tools import in_thread

Pair = tuple[socket.socket, socket.socket]
#: How many times cancels and data race.
RACES = 10_000


def races(
    selector: Selector, pair: Pair, rng: random.Random, stop: Callable[[Operation], None]
) -> None:
    """Nothing is lost or doubled when ``stop`` is called on receives for which data comes then."""
    a, b = pair
    sent, got = bytearray(), bytearray()
    buffer = bytearray(3)
    ops: list[Any] = [Recv(a, 3), RecvInto(a, buffer)]
    results = cancelled = 0
    for number in range(RACES):
        op = rng.choice(ops)
        steps = ["stop", *rng.choice(([], ["send"], ["send", "wait"], ["wait"]))]
        rng.shuffle(steps)
        selector.submit(op)
        for step in steps:
            if step == "stop":
                stop(op)
            elif step == "send":
                sent += (part := number.to_bytes(3, "big")[: rng.randint(1, 3)])
                b.send(part)
            else:
                assert selector.select(0) == []
        finished(selector, op)
        try:
            result = op.result()
            got += result if isinstance(result, bytes) else buffer[:result]
            results += 1
        except (OperationCancelled, TimeoutError):
            cancelled += 1
    got += received(selector, a, len(sent) - len(got))
    assert got == sent
    assert results > RACES // 100
    assert cancelled > RACES // 100
    assert_nothing_done(selector)


@rule(109)
def test_nothing_is_lost_to_a_cancel(selector: Selector, pair: Pair) -> None:
    """Whatever the order of submit, send, wait and cancel, ten thousand times: what was received is
    what was sent.
    """
    races(selector, pair, random.Random(109), selector.cancel)


@rule(109)
def test_nothing_is_lost_to_a_timeout(selector: Selector, pair: Pair) -> None:
    """A timeout is a cancel by the clock."""
    a, b = pair
    rng = random.Random(110)
    sent, got = bytearray(), bytearray()
    op = Recv(a, 3)
    for number in range(RACES // 5):
        op.timeout = rng.choice((0, 0, 1e-6, 1e-4, 3e-4))
        selector.submit(op)
        if rng.random() < 0.5:
            sent += (part := number.to_bytes(3, "big"))
            b.send(part)
        finished(selector, op)
        try:
            got += op.result()
        except TimeoutError:
            pass
    got += received(selector, a, len(sent) - len(got))
    assert got == sent


@rule(109)
def test_nothing_is_lost_to_a_cancel_from_another_thread(selector: Selector, pair: Pair) -> None:
    """One thread sends, another cancels, a third waits: as fast as each of them can."""
    a, b = pair
    rng = random.Random(111)
    sent, got = bytearray(), bytearray()
    op = Recv(a, 50)
    over = threading.Event()

    def send() -> None:
        b.setblocking(True)
        while not over.is_set():
            sent.extend(part := rng.randbytes(rng.randint(1, 20)))
            b.send(part)
            time.sleep(rng.choice((0, 1e-5, 1e-4)))

    def cancel() -> None:
        while not over.is_set():
            selector.cancel(op)
            time.sleep(rng.choice((0, 1e-5, 1e-4)))

    outcomes = {"result": 0, "cancelled": 0}
    with hurried_switches(), in_thread(send) as one, in_thread(cancel) as other:
        try:
            for _ in range(RACES // 2):
                selector.submit(op)
                finished(selector, op)
                try:
                    got += op.result()
                    outcomes["result"] += 1
                except OperationCancelled:
                    outcomes["cancelled"] += 1
        finally:
            over.set()
    assert [one, other] == [[None], [None]]
    got += received(selector, a, len(sent) - len(got))
    assert got == sent
    assert min(outcomes.values()) > 10, f"no race: {outcomes}"
    assert_nothing_done(selector)


@rule(109)
def test_a_late_cancel_does_not_reach_the_next_use(selector: Selector) -> None:
    """An operation that is submitted again is a new one: a cancel that came back before that, in
    another thread, is not about it.
    """
    op = selector.post()
    asked = submitted = 0.0
    over = threading.Event()

    def cancel() -> None:
        nonlocal asked
        while not over.is_set():
            if selector.cancel(op):
                asked = time.perf_counter()
            time.sleep(0)

    with hurried_switches(), in_thread(cancel) as out:
        try:
            for _ in range(RACES // 2):
                finished(selector, op)
                deadline = time.monotonic() + 0.5
                # The other thread is between the cancel and its note, perhaps.
                while op.error and asked < submitted and time.monotonic() < deadline:
                    time.sleep(0)
                assert not op.error or asked >= submitted, "cancelled, and nobody asked"
                submitted = time.perf_counter()
                selector.submit(op)
        finally:
            over.set()
    assert out == [None]
    finished(selector, op)
