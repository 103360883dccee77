"""Who is registered for what: the half of the Selector that changes it.

A change goes to the kernel first, then into ``_touched`` if somebody waits, then into the tables;
see ``_selector.py`` for why that order.
"""

from __future__ import annotations

import errno
from selectors import SelectorKey
from typing import TYPE_CHECKING, Any

from netcore._registry import SelectorMap, fileno_of, find, is_stale
from netcore._tables import Tables
from netcore._threads import give_back, other_threads
from netcore.contract import EVENT_READ, EVENT_WRITE

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

_PLAIN = EVENT_READ | EVENT_WRITE
_new_key = tuple.__new__  # A third of the time of SelectorKey(...), which parses keywords.


class Registration(Tables):
    """The methods of a selector that have to do with its registry."""

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
