"""The process around a selector: its descriptors, its children, the signals that it gets."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from netcore import Selector
from netcore.contract import ReadinessBackend

from .rules import WINDOWS
from .tools import SOON, until_waiting

assert not TYPE_CHECKING or sys.platform != "win32"


def descriptors() -> dict[int, bool]:
    """Every descriptor (Windows: handle) of this process, and whether a child inherits it."""
    if WINDOWS:
        from .handles import handles

        return handles()
    found: dict[int, bool] = {}
    # By asking: /dev/fd lists 0 to 2 only on a FreeBSD without fdescfs.
    for fd in range(min(os.sysconf("SC_OPEN_MAX"), 4096)):
        with contextlib.suppress(OSError):
            found[fd] = os.get_inheritable(fd)
    return found


@contextlib.contextmanager
def pair_with_number(number: int) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connected pair, non-blocking, the first of which has the descriptor ``number``.

    Skips where the system does not give a number out again that was just closed.
    """
    with contextlib.ExitStack() as opened:
        for _ in range(200):
            one, other = socket.socketpair()
            opened.enter_context(one)
            opened.enter_context(other)
            if other.fileno() == number:
                one, other = other, one
            if one.fileno() == number:
                one.setblocking(False)
                other.setblocking(False)
                yield one, other
                return
        pytest.skip("the system does not give the number out again")


@contextlib.contextmanager
def in_child(function: Callable[[], object]) -> Iterator[None]:
    """Run ``function`` in a forked child meanwhile; what it raises fails the test."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12: the process has threads, those of the test runner and perhaps ours.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        _be_child(function, writer)
    os.close(writer)
    try:
        yield
    finally:
        with open(reader, "rb") as report:
            said = report.read().decode()
        _, status = os.waitpid(pid, 0)
    assert status == 0, said or f"the child hung or died: wait status {status}"


def _be_child(function: Callable[[], object], writer: int) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(2 * SOON))  # If it hangs.
    status = 1
    try:
        function()
        status = 0
    except BaseException:  # Handed to the parent.
        os.write(writer, traceback.format_exc().encode()[-60_000:])
    finally:
        os._exit(status)


@contextlib.contextmanager
def signals(
    selector: Selector, handler: Callable[[], object], times: int = 1, pause: float = 0.02
) -> Iterator[None]:
    """Once the main thread, which this is, waits on ``selector``, let a signal call ``handler``
    in it, ``times`` times.
    """
    over = threading.Event()

    def send() -> None:
        until_waiting(selector)
        for _ in range(times):
            if over.is_set():
                return
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            time.sleep(pause)

    before = signal.signal(signal.SIGUSR1, lambda *_: handler())
    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        # Nothing may arrive after the handler is gone: it would end the process.
        over.set()
        thread.join(2 * SOON)
        signal.signal(signal.SIGUSR1, before)
    assert not thread.is_alive(), "the thread hangs"


def path_of(backend: type[ReadinessBackend]) -> str:
    """What names ``backend`` in another process."""
    return f"{backend.__module__}:{backend.__qualname__}"
