"""Has Linux hold to the rules what it lacks: kqueue, simulated, and readiness over completion.

NETCORE_TEST_KQUEUE says whose kqueue: "macos" (the default), "freebsd", or "none". The driver of
completion backends runs on the one in ``stacked.py``.
"""

from __future__ import annotations

import errno
import gc
import os
import select
import sys
from typing import Any

import pytest

from netcore import available_backends

_flavour = os.environ.get("NETCORE_TEST_KQUEUE", "macos")


def _give_paths() -> None:
    """``fcntl(fd, F_GETPATH)``, by which macOS tells a FIFO from a pipe."""
    import fcntl

    original, number = fcntl.fcntl, 50  # XNU bsd/sys/fcntl.h

    def with_paths(fd: int, command: int, argument: Any = 0) -> Any:
        if command != number:
            return original(fd, command, argument)
        path = os.readlink(f"/proc/self/fd/{fd}")
        if not path.startswith("/"):  # "pipe:[1234]"
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return os.fsencode(path).ljust(len(argument), b"\0")

    fcntl.F_GETPATH, fcntl.fcntl = number, with_paths  # type: ignore[attr-defined, assignment]


if sys.platform == "linux" and not hasattr(select, "kqueue") and _flavour != "none":
    import kqueue_simulator

    from netcore.backends.kqueue import Kqueue
    from netcore.contract import EVENT_PRIORITY

    kqueue_simulator.install(_flavour)
    if _flavour == "macos":
        _give_paths()
        Kqueue.supports |= EVENT_PRIORITY


def pytest_configure(config: pytest.Config) -> None:
    if sys.platform == "linux" and not config.option.netcore_backend:
        config.option.netcore_backend = [*available_backends(), "stacked:Stacked"]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Thousands of tests are there to stay: many of them collect garbage, and need not look."""
    if hasattr(gc, "freeze"):  # PyPy has none.
        gc.collect()
        gc.freeze()
