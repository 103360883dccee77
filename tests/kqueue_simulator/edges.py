"""What the kernel's KNOTE() hooks are to kqueue: which descriptors changed since last asked.

Two private epolls, one for each direction, watch edge-triggered. Facts of epoll that this uses:
an entry belongs to (open file, number), so it holds no file open and vanishes with its file; a
wakeup is filtered by its direction, so that new data is no edge for the writing side; and adding
an entry again fails with EEXIST just while the number still is that very file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
from collections.abc import Iterator
from select import EPOLLET, EPOLLIN, EPOLLOUT, EPOLLPRI, epoll

from . import linux

IN, OUT = 0, 1
F_DUPFD_CLOEXEC = 1030  # uapi/linux/fcntl.h; PyPy lacks the name.
_EVENTS = (EPOLLIN | EPOLLPRI | linux.POLLRDHUP | EPOLLET, EPOLLOUT | EPOLLET)
_BATCH = 1024


def _out_of_the_way(fd: int) -> int:
    """Move fd to a high number, where it takes no number that a program counts on."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    floor = min(soft * 3 // 4, 3400) if soft > 0 else 3400
    try:
        moved = fcntl.fcntl(fd, F_DUPFD_CLOEXEC, floor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EMFILE):
            raise
        return fd  # no room up there
    os.close(fd)
    return moved


def _private_epoll() -> epoll:
    made = epoll()
    try:
        return epoll.fromfd(_out_of_the_way(os.dup(made.fileno())))
    finally:
        made.close()


class Edges:
    """Reports each change of an added descriptor once; `public` is readable while one waits."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as undo:
            # First, because it takes the lowest number, as kqueue(2) does.
            self.public = epoll()
            undo.callback(self.public.close)
            self._sides = (_private_epoll(), _private_epoll())
            for side in self._sides:
                undo.callback(side.close)
            self._bell = _out_of_the_way(linux.eventfd())
            undo.callback(os.close, self._bell)
            for fd in (self._bell, self._sides[IN].fileno(), self._sides[OUT].fileno()):
                self.public.register(fd, EPOLLIN)
            undo.pop_all()

    def add(self, fd: int, side: int) -> bool:
        """Watch fd; False when it is of a kind that never wakes anybody, like a regular file."""
        try:
            self._register(fd, side)
        except FileExistsError:
            pass  # another filter of this side watches it, or a closed duplicate did
        except PermissionError:
            return False
        return True

    def _register(self, fd: int, side: int) -> None:
        try:
            self._sides[side].register(fd, _EVENTS[side])
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._stop_being_pollable()
            self._sides[side].register(fd, _EVENTS[side])

    def _stop_being_pollable(self) -> None:
        """One file may reach an epoll by 500 ways through others (eventpoll.c, path_limits).

        So with 500 duplicates of one file the queue cannot be polled or watched any more.
        """
        for watched in self._sides:
            with contextlib.suppress(FileNotFoundError):  # no longer since the last time
                self.public.unregister(watched)

    def remove(self, fd: int, side: int) -> None:
        with contextlib.suppress(OSError):  # gone with its file
            self._sides[side].unregister(fd)

    def still_there(self, fd: int, side: int) -> bool:
        """Whether the number is the file that was added."""
        try:
            self._sides[side].register(fd, _EVENTS[side])
        except FileExistsError:
            return True
        except OSError:
            return False  # closed, or now of a kind that cannot be added
        self.remove(fd, side)  # unless another thread has closed it meanwhile
        return False

    def collect(self) -> Iterator[tuple[int, int]]:
        """(fd, side) of every change since the last time."""
        for side, watched in enumerate(self._sides):
            found = None
            while found is None or len(found) == _BATCH:
                found = watched.poll(0, _BATCH)
                for fd, _ in found:
                    yield fd, side

    def ring(self, wanted: bool) -> None:
        """Make `public` readable though no descriptor changed, or stop that.

        Asks the eventfd and remembers nothing, so that a signal handler may raise in the middle.
        """
        if wanted:
            os.write(self._bell, b"\1\0\0\0\0\0\0\0")
        else:
            with contextlib.suppress(BlockingIOError):
                os.read(self._bell, 8)

    def sleep(self, nanoseconds: int | None) -> None:
        """Until a change, a ring, a signal, or the end of the time."""
        linux.sleep_on(
            (self._bell, self._sides[IN].fileno(), self._sides[OUT].fileno()), nanoseconds
        )

    def close(self) -> None:
        for side in self._sides:
            side.close()
        os.close(self._bell)
