"""What is registered, in all forms in which it is looked up; what to do when a change fails."""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Callable
from selectors import BaseSelector, SelectorKey
from threading import RLock
from typing import TYPE_CHECKING, Any

from netcore._loader import cannot_watch
from netcore._registry import SelectorMap
from netcore._waker import Waker
from netcore.contract import (
    ALL_EVENTS,
    CONDITIONS,
    EVENT_READ,
    EVENT_WRITE,
    ONESHOT,
    ReadinessBackend,
)

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

# Errors that the kernel refuses a change with; 10038 is WSAENOTSOCK.
_REFUSALS = {
    *(errno.EPERM, errno.EBADF, errno.ENOENT, errno.EINVAL, errno.EEXIST, errno.ELOOP),
    *(errno.ENOMEM, errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOTSOCK, 10038),
}


def nothing() -> None:
    return None


class Tables(BaseSelector):
    """The tables of a selector, and its way to the backend."""

    # No values here for what is looked up in hot paths: CPython 3.11 does not specialize the lookup
    # of an attribute that the class has as well.
    _closed: bool
    _raw: bool
    _forked = False  # In a child that has not used it yet.
    _backend: ReadinessBackend
    _waker: Waker
    # The way to the backend: the raw calls of the kernel if there are, else _watch.
    _watch: Callable[[int, int, int], None]
    _add: Callable[[int, int], object]
    _modify: Callable[[int, int], object]
    _remove: Callable[[int], object]

    def __init__(self, make: type[ReadinessBackend]) -> None:
        self._closed = True  # Until everything is made.
        self._make = make
        # Reentrant: signal handlers and __del__ methods come in between. It is taken if there are
        # other threads, without a with statement, which takes twice as long; acquire() belongs
        # inside the try, because a signal handler may raise right after it.
        self._lock = RLock()
        self._fd_to_key: dict[int, SelectorKey] = {}
        self._map = SelectorMap(self._fd_to_key)
        # fd -> what select() returns for it when it is just readable, or just writable; None for
        # what has to be looked at. Lists or dicts, as descriptors are small numbers or not.
        self._readable: Any = [] if make.dense else defaultdict(nothing)
        self._writable: Any = [] if make.dense else defaultdict(nothing)
        # In the map, but not with the kernel: parked, delivered one-shot, found closed.
        self._silent: set[int] = set()
        # fd -> its key, when a one-shot interest was delivered and the kernel has disarmed it by
        # itself: only who shares the descriptor asks.
        self._fired: dict[int, SelectorKey] = {}
        # Closed before they were unregistered, where that may leave ghosts.
        self._suspects: set[int] = set()
        self._waiting = False
        self._touched: set[int] = set()  # Changed while somebody waits.
        # Legal events -> what _watch is told of them, and what the way to the backend takes.
        told = ~ONESHOT if self._emulates_oneshot else ~0
        self._told = self._interest = {
            events: events & told
            for events in range(ALL_EVENTS + 1)
            if not events & ~self.supports and (events & CONDITIONS or not events)
        }

    @property
    def _emulates_oneshot(self) -> bool:
        """The kernel does not know ONESHOT: _resolve does it."""
        return not self._make.supports & ONESHOT

    # Properties, because CPython keeps no more than 29 attributes of an instance inline.

    @property
    def backend(self) -> str:
        """The name of the backend."""
        return self._make.name

    @property
    def supports(self) -> int:
        """The event bits that can be registered."""
        return self._make.supports | ONESHOT

    # -- steps of a change, under the lock

    def _set_rows(self, key: SelectorKey) -> None:
        """Note what is delivered for ``key``, and whether the kernel has it."""
        _, fd, events, _ = key
        if fd >= len(self._readable) and self._make.dense:
            self._grow(fd)
        if events:
            self._silent.discard(fd)
        else:
            self._silent.add(fd)
        # None: to be looked at.
        plain = fd not in self._suspects and not events & ONESHOT
        self._readable[fd] = (key, EVENT_READ) if plain and events & EVENT_READ else None
        self._writable[fd] = (key, EVENT_WRITE) if plain and events & EVENT_WRITE else None

    def _grow(self, fd: int) -> None:
        """Make the lists long enough for ``fd``, both or none."""
        for table in (self._readable, self._writable):
            table.extend([None] * (2 * fd + 64 - len(table)))

    def _touch(self, fd: int) -> None:
        """Let the thread that waits know of a change that the kernel knows already."""
        self._touched.add(fd)
        if not self._make.live:
            self._wake()

    def _silence(self, key: SelectorKey) -> None:
        """Take ``key`` from the kernel but not from the map."""
        fd = key.fd
        self._readable[fd] = self._writable[fd] = None
        try:
            self._watch(fd, key.events, 0)
        except OSError:  # Closed: gone already, or so it looks.
            if self._make.leaves_ghosts:
                self._suspects.add(fd)
        self._silent.add(fd)

    def _checked(self, events: int) -> int:
        """What the backend is told of ``events``. Raises ValueError for what cannot be watched."""
        if events in self._interest:
            return self._interest[events]
        if not isinstance(events, int) or events & ~ALL_EVENTS or not events & CONDITIONS:
            raise ValueError(f"invalid events: {events!r}")
        raise cannot_watch(self.backend, events & ~self.supports)

    # -- when a change fails

    def _failure(
        self,
        error: BaseException,
        fileobj: FileDescriptorLike,
        fd: int,
        events: int,
        key: SelectorKey | None,
    ) -> BaseException:
        """What to raise for ``error``, which came while ``fd`` was taken to ``events``; ``key`` is
        what it was registered with before.

        It may be from a signal handler, at any point: map, tables and kernel are taken back to
        ``key``, whatever it is.
        """
        if self._closed:  # By a signal handler, in the middle of it.
            if isinstance(error, (OSError, ValueError)):
                self._check_open()
            return error
        if not isinstance(fd, int) or fd < 0:
            return ValueError(f"no open file descriptor in {fileobj!r}: {fd!r}")
        self._take_away(fd, events)
        if key is None:
            self._fd_to_key.pop(fd, None)
            self._silent.discard(fd)
            if fd in range(len(self._readable)) or not self._make.dense:
                self._readable[fd] = self._writable[fd] = None
        else:
            self._fd_to_key[fd] = key
            self._take_away(fd, key.events)
            self._set_rows(key)
            try:
                if key.events:
                    self._watch(fd, 0, self._told[key.events])
            except OSError:
                self._silent.add(fd)  # Closed meanwhile.
        if isinstance(error, OverflowError):
            return ValueError(f"no open file descriptor in {fileobj!r}: {fd}")
        if not isinstance(events, int):
            return ValueError(f"invalid events: {events!r}")
        if isinstance(error, OSError) and error.errno in _REFUSALS:
            what = f"{fileobj!r}, by the {self.backend} backend"
            number = getattr(error, "winerror", None)
            windows = () if number is None else (None, number)
            return OSError(error.errno, f"cannot watch {what}: {error.strerror}", *windows)
        return error

    def _removed_anyway(self, error: BaseException, key: SelectorKey) -> None:
        """Finish the removal of ``key`` after an error, which is raised if it is of interest."""
        fd = key.fd
        self._take_away(fd, key.events)
        self._silent.discard(fd)
        self._readable[fd] = self._writable[fd] = None
        self._fd_to_key.pop(fd, None)
        if self._waiting:
            self._touch(fd)
        if not isinstance(error, OSError) or error.errno not in _REFUSALS:
            raise error
        # It was closed: gone already, or so it looks.
        if self._make.leaves_ghosts:
            self._suspects.add(fd)

    def _take_away(self, fd: int, events: int) -> None:
        """Take ``fd`` from the kernel, which may have it or not."""
        try:
            self._watch(fd, events or EVENT_READ, 0)
        except (OSError, OverflowError, TypeError):
            pass  # It had not.

    def _check_open(self) -> None:
        raise NotImplementedError

    def _wake(self) -> None:
        raise NotImplementedError
