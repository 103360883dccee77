"""The backend of macOS and the BSDs: kqueue(2) through the stdlib.

READ and WRITE are separate entries of the kernel, "filters", that come and go on their own; here
they become one mask a descriptor. ``select.kqueue`` and its constants are looked up when a backend
is made, so that they may come from elsewhere.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from netcore._descriptors import refuse_files
from netcore.contract import (
    CLOSED,
    EDGE,
    EVENT_HANGUP,
    EVENT_PRIORITY,
    EVENT_READ,
    EVENT_WRITE,
    FAILED,
    ReadinessBackend,
)

assert not TYPE_CHECKING or sys.platform == "darwin"

_MACOS = sys.platform == "darwin"
# Not exported by the stdlib; the same numbers on every BSD but for EVFILT_EXCEPT, which is macOS's
# (XNU bsd/sys/event.h).
_NOTE_LOWAT = 0x1
_FILTER_EXCEPT, _NOTE_OOB = -15, 0x2
_NEVER = 2**31 - 1  # More bytes than any buffer holds.

# Kqueues of our parent process. Their numbers are not ours: closing them, as CPython before 3.12
# does when the object goes, could close somebody else's file.
_inherited: list[select.kqueue] = []

# What is asked of one filter: flags, fflags, data.
Spec = tuple[int, int, int]


class Kqueue(ReadinessBackend):
    """kqueue(2): changes are live, the cost does not depend on idle descriptors."""

    name = "kqueue"
    supports = EVENT_READ | EVENT_WRITE | EVENT_HANGUP | EDGE | (EVENT_PRIORITY if _MACOS else 0)
    needs = "macOS or a BSD: select.kqueue"
    live = True
    tracks_files = True
    scalable = True
    dense = True

    @classmethod
    def available(cls) -> bool:
        return hasattr(select, "kqueue")

    def __init__(self) -> None:
        self._kqueue = select.kqueue()
        self._read, self._write = select.KQ_FILTER_READ, select.KQ_FILTER_WRITE
        # Asked for at once: grows with the longest answer.
        self._room = 32
        # (fd, filter) of what can only be asked with EV_CLEAR but was not wanted as EDGE, and
        # those of them that have fired: they are asked again at the next wait.
        self._latched: dict[tuple[int, int], Spec] = {}
        self._fired: set[tuple[int, int]] = set()
        # Pipes to write to whose reader is gone, which FreeBSD (EPIPE) and NetBSD (EBADF) refuse
        # to watch. They are writable: a write fails at once.
        self._broken: dict[int, bool] = {}  # fd -> report it once only

    def watch(self, fd: int, old: int, new: int) -> None:
        if not old:
            _refuse(fd)
        before, after = self._specs(old), self._specs(new or (not old and EVENT_READ))
        # What has EV_CLEAR is deleted and added again: EV_ADD alone does not change that flag, nor
        # is it sure to report what holds already.
        gone = [f for f, spec in before.items() if spec[0] or after.get(f) != spec]
        fresh = {f: spec for f, spec in after.items() if spec[0] or before.get(f) != spec}
        self._delete(fd, gone, quietly=bool(new))
        self._broken.pop(fd, None)
        for kind in (self._read, _FILTER_EXCEPT):
            self._latched.pop((fd, kind), None)
            self._fired.discard((fd, kind))
        self._add(fd, fresh, new)
        if not old and not new:
            self._delete(fd, after, quietly=True)
        elif not new & EDGE:
            for kind, spec in after.items():
                if spec[0]:
                    self._latched[fd, kind] = spec

    def _specs(self, interest: int) -> dict[int, Spec]:
        """Event bits -> what the filters are asked."""
        clear = select.KQ_EV_CLEAR if interest & EDGE else 0
        specs = {}
        if interest & EVENT_READ:
            specs[self._read] = (clear, 0, 0)
        elif interest & EVENT_HANGUP:
            # EOF is reported whatever the low-water mark. It is cut to the size of the buffer by
            # XNU (filt_sorwlowat), so that a full buffer reports too: once, with EV_CLEAR.
            specs[self._read] = (select.KQ_EV_CLEAR, _NOTE_LOWAT, _NEVER)
        if interest & EVENT_WRITE:
            specs[self._write] = (clear, 0, 0)
        if interest & EVENT_PRIORITY:
            # Without EV_CLEAR it would go on firing when the byte was read (XNU filt_except).
            specs[_FILTER_EXCEPT] = (select.KQ_EV_CLEAR, _NOTE_OOB, 0)
        return specs

    def _add(self, fd: int, specs: dict[int, Spec], interest: int) -> None:
        """Add all of ``specs`` or none."""
        added: list[int] = []
        try:
            for kind, spec in specs.items():
                try:
                    self._kqueue.control([self._change(fd, kind, spec)], 0)
                except OSError as error:
                    if kind != self._write or not _is_broken_pipe(fd, error):
                        raise
                    self._broken[fd] = bool(interest & EDGE)
                else:
                    added.append(kind)
        except OSError as error:
            self._delete(fd, added, quietly=True)
            if error.errno == errno.EINVAL:
                raise PermissionError(
                    errno.EPERM, "kqueue cannot watch this device, the select backend can"
                ) from None
            raise

    def _change(self, fd: int, kind: int, spec: Spec) -> select.kevent:
        flags, fflags, data = spec
        return select.kevent(fd, kind, select.KQ_EV_ADD | flags, fflags, data)

    def _delete(self, fd: int, kinds: Iterable[int], quietly: bool) -> None:
        """Delete filters. Some are gone already: FreeBSD drops that of a pipe at its end (ENOENT),
        and all of a closed descriptor (EBADF there, ENOENT on macOS).
        """
        failure = None
        for kind in kinds:
            try:
                self._kqueue.control([select.kevent(fd, kind, select.KQ_EV_DELETE)], 0)
            except OSError as error:
                failure = error
        if failure and not quietly and fd not in self._broken:
            raise failure

    def wait(self, timeout: float | None, limit: int | None = None) -> list[tuple[int, int]]:
        if self._fired:
            self._ask_again()
        if self._broken:
            timeout = 0
        ready: dict[int, int] = {}
        while True:
            # No changes are passed: after EINTR they would be applied twice.
            events = self._kqueue.control(None, limit or self._room, timeout)
            for event in events:
                fd = event.ident
                ready[fd] = ready.get(fd, 0) | self._events(event)
            if limit is not None or len(events) < self._room:
                break
            # The room was full: what is edge-triggered would not be told again.
            self._room *= 4
            timeout = 0
        if self._broken:
            self._report_broken(ready, limit)
        return [pair for pair in ready.items() if pair[1]]

    def _events(self, event: select.kevent) -> int:
        """kevent -> event bits."""
        ended = event.flags & select.KQ_EV_EOF
        latched = (event.ident, event.filter) in self._latched
        if event.filter == self._read:
            if not ended:
                events = 0 if latched else EVENT_READ  # Latched: a full buffer on macOS.
            else:
                # fflags: the error of the socket, if that ended it.
                failed = EVENT_WRITE | FAILED if event.fflags else 0
                events = EVENT_READ | EVENT_HANGUP | failed
        elif event.filter == self._write:
            failed = event.fflags if ended else 0
            events = EVENT_WRITE | (EVENT_READ | EVENT_HANGUP | FAILED if failed else 0)
            if ended and not failed and not event.flags & select.KQ_EV_CLEAR:
                self._broken[event.ident] = False  # FreeBSD tells it once and drops the filter.
        else:
            events = EVENT_PRIORITY if event.fflags & _NOTE_OOB else 0
        if latched and events:
            self._fired.add((event.ident, event.filter))
        return events

    def _ask_again(self) -> None:
        """Have what fired before reported again if it still holds."""
        for fd, kind in self._fired:
            self._delete(fd, [kind], quietly=True)
            try:
                self._kqueue.control([self._change(fd, kind, self._latched[fd, kind])], 0)
            except OSError:
                pass  # Closed meanwhile: the kernel has forgotten it.
        self._fired.clear()

    def _report_broken(self, ready: dict[int, int], limit: int | None) -> None:
        for fd, once in list(self._broken.items()):
            if limit is not None and len(ready) >= limit:
                break
            ready[fd] = ready.get(fd, 0) | (EVENT_WRITE | FAILED if _is_open(fd) else CLOSED)
            if once:
                del self._broken[fd]

    def close(self) -> None:
        self._kqueue.close()

    def abandon(self) -> None:
        _inherited.append(self._kqueue)

    def fileno(self) -> int:
        return self._kqueue.fileno()


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _is_broken_pipe(fd: int, error: OSError) -> bool:
    """Whether adding a WRITE filter failed because the reader of the pipe is gone."""
    return error.errno == errno.EPIPE or (error.errno == errno.EBADF and _is_open(fd))


def _refuse(fd: int) -> None:
    """Refuse what is always ready, and on macOS a FIFO that was opened by its path: its end is
    never reported (golang/go#24164; pipe(2) is fine, it has no path).
    """
    import fcntl  # Not on Windows, where this module is imported too.

    refuse_files(fd)
    if hasattr(fcntl, "F_GETPATH") and stat.S_ISFIFO(os.fstat(fd).st_mode):
        try:
            fcntl.fcntl(fd, fcntl.F_GETPATH, bytes(1024))  # MAXPATHLEN (XNU sys/param.h)
        except OSError:
            return
        raise PermissionError(
            errno.EPERM, "kqueue never reports the end of a FIFO on macOS, the select backend does"
        )
