"""Who is registered for what: the half of the Selector that changes it.

A change goes to the kernel first, then into ``_touched`` if somebody waits, then into the tables;
see ``_selector.py`` for why that order.
"""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Callable
from selectors import BaseSelector, SelectorKey
from threading import RLock
from typing import TYPE_CHECKING, Any

from netcore._loader import backends_with
from netcore._registry import SelectorMap, fileno_of, find, is_stale
from netcore._threads import give_back, other_threads
from netcore._waker import Waker
from netcore.contract import (
    ALL_EVENTS,
    CONDITIONS,
    EDGE,
    EVENT_READ,
    EVENT_WRITE,
    ONESHOT,
    ReadinessBackend,
    event_names,
)

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

_MODIFIERS = ONESHOT | EDGE
_PLAIN = EVENT_READ | EVENT_WRITE
_new_key = tuple.__new__  # A third of the time of SelectorKey(...), which parses keywords.


# Errors that the kernel refuses a change with; 10038 is WSAENOTSOCK.
_REFUSALS = {
    *(errno.EPERM, errno.EBADF, errno.ENOENT, errno.EINVAL, errno.EEXIST, errno.ELOOP),
    *(errno.ENOMEM, errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOTSOCK, 10038),
}


def _nothing() -> None:
    return None


class Registration(BaseSelector):
    """The registry of a selector and its way to the backend."""

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
        self._readable: Any = [] if make.dense else defaultdict(_nothing)
        self._writable: Any = [] if make.dense else defaultdict(_nothing)
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

    # Properties, because CPython keeps no more than 30 attributes of an instance inline.

    @property
    def backend(self) -> str:
        """The name of the backend."""
        return self._make.name

    @property
    def supports(self) -> int:
        """The event bits that can be registered."""
        return self._make.supports | ONESHOT

    def register(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> SelectorKey:
        """Watch ``fileobj`` (an int or an object with ``fileno()``) for ``events``; return its key.

        0 parks it: nothing is delivered until ``modify``. Raises ValueError for a bad mask or
        descriptor, KeyError if it is registered already, OSError if it cannot be watched. A key
        whose object was closed meanwhile makes room for a new object with the same number.
        """
        lock = self._lock if other_threads() else None
        try:
            if lock:
                lock.acquire()
            try:
                fd = fileobj if fileobj.__class__ is int else fileobj.fileno()  # type: ignore[union-attr]
                interest = self._interest[events]
            except (KeyError, TypeError, ValueError, AttributeError):
                fd, interest = fileno_of(fileobj), self._checked(events)
            if fd in self._fd_to_key:
                self._make_room(fileobj, fd)
            try:
                if self._raw and interest:
                    try:
                        self._add(fd, interest)
                    except FileExistsError:  # The number came back, for the same open file.
                        self._modify(fd, interest)
                else:
                    self._watch(fd, 0, interest)
                if self._waiting:
                    self._touch(fd)
                key: SelectorKey = _new_key(SelectorKey, (fileobj, fd, events, data))
                if events is EVENT_READ and not self._suspects:  # 1.0 is refused by _set_rows.
                    try:
                        self._readable[fd] = (key, EVENT_READ)
                    except IndexError:
                        self._set_rows(key)
                else:
                    self._set_rows(key)
                self._fd_to_key[fd] = key
            except BaseException as error:
                raise self._failure(error, fileobj, fd, events, None) from None
            return key
        finally:
            if lock:
                give_back(lock)

    def modify(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> SelectorKey:
        """Replace the events and the data of ``fileobj``; return the new key.

        Arms ``ONESHOT`` and ``EDGE`` afresh: what holds now is delivered again. Raises KeyError if
        it is not registered, ValueError for a bad mask, OSError as the kernel does; then the old
        key stays.
        """
        lock = self._lock if other_threads() else None
        try:
            if lock:
                lock.acquire()
            try:
                fd = fileobj if fileobj.__class__ is int else fileobj.fileno()  # type: ignore[union-attr]
                key = self._fd_to_key[fd]
            except (KeyError, TypeError, ValueError, AttributeError):
                key = self._find_open(fileobj)
                fd = key.fd
            old = key[2]
            try:
                interest = self._interest[events]
            except (KeyError, TypeError):
                interest = self._checked(events)
            if fd in self._silent:
                old = 0
            try:
                if events != old or events > _PLAIN:
                    if old and interest and self._raw:
                        self._modify(fd, interest)
                    elif old or interest:
                        self._watch(fd, old, self._told[events])
                    if self._waiting:
                        self._touch(fd)
                new: SelectorKey = _new_key(SelectorKey, (key[0], fd, events, data))
                if old and 0 < events <= _PLAIN and not self._suspects:
                    self._readable[fd] = (new, EVENT_READ) if events & EVENT_READ else None
                    self._writable[fd] = (new, EVENT_WRITE) if events & EVENT_WRITE else None
                else:
                    self._set_rows(new)
                self._fd_to_key[fd] = new
            except BaseException as error:
                raise self._failure(error, fileobj, fd, events, key) from None
            return new
        finally:
            if lock:
                give_back(lock)

    def unregister(self, fileobj: FileDescriptorLike) -> SelectorKey:
        """Stop watching ``fileobj``, which may be closed already; return its key.

        Nothing is delivered for it afterwards. Raises KeyError if it is not registered.
        """
        lock = self._lock if other_threads() else None
        try:
            if lock:
                lock.acquire()
            try:
                fd = fileobj if fileobj.__class__ is int else fileobj.fileno()  # type: ignore[union-attr]
                key = self._fd_to_key[fd]
            except (KeyError, TypeError, ValueError, AttributeError):
                key = self._find(fileobj)
                fd = key.fd
            try:
                if self._fired:
                    self._fired.pop(fd, None)
                if fd in self._silent:
                    self._silent.discard(fd)
                elif self._raw:
                    self._remove(fd)
                else:
                    self._watch(fd, key[2], 0)
                if self._waiting:
                    self._touch(fd)
                self._readable[fd] = self._writable[fd] = None
                del self._fd_to_key[fd]
            except BaseException as error:
                self._removed_anyway(error, key)
            return key
        finally:
            if lock:
                give_back(lock)

    def get_key(self, fileobj: FileDescriptorLike) -> SelectorKey:
        """The key of ``fileobj``. Raises KeyError if it is not registered."""
        try:
            fd = fileobj if fileobj.__class__ is int else fileobj.fileno()  # type: ignore[union-attr]
            return self._fd_to_key[fd]
        except (KeyError, TypeError, ValueError, AttributeError):
            return self._find(fileobj)

    def get_map(self) -> SelectorMap:
        """A live, read-only mapping from file objects to keys."""
        self._check_open()
        return self._map

    # -- steps of the above, under the lock

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

    def _make_room(self, fileobj: FileDescriptorLike, fd: int) -> None:
        """Forget the key at ``fd`` if its object was closed; complain otherwise."""
        key = self._fd_to_key[fd]
        if not is_stale(key):
            raise KeyError(f"{fileobj!r} (FD {fd}) is already registered")
        self.unregister(fd)

    def _find(self, fileobj: FileDescriptorLike) -> SelectorKey:
        self._check_open()
        return find(self._fd_to_key, fileobj)

    def _find_open(self, fileobj: FileDescriptorLike) -> SelectorKey:
        """As ``_find``, but it must not be the key of an object that was closed."""
        key = self._find(fileobj)
        if is_stale(key):
            raise OSError(errno.EBADF, f"closed since it was registered: {fileobj!r}")
        return key

    def _checked(self, events: int) -> int:
        """What the backend is told of ``events``. Raises ValueError for what cannot be watched."""
        if events in self._interest:
            return self._interest[events]
        if not isinstance(events, int) or events & ~ALL_EVENTS or not events & CONDITIONS:
            raise ValueError(f"invalid events: {events!r}")
        missing = events & ~self.supports
        raise ValueError(
            f"the {self.backend} backend cannot watch {event_names(missing)}"
            f" (available here that can: {', '.join(backends_with(missing)) or 'none'})"
        )

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
        if self._closed:
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
