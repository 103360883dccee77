"""Readiness from a completion backend: a poll per descriptor, submitted again before each wait.

The core says what is wanted, a poll in flight is what the system was asked for, and ``_pursue`` and
``_settle`` bring the two together:

* Level-triggered means: what was told is asked again by the next wait, and the system answers at
  once if it still holds.
* Of a descriptor one poll at most is in flight, because Windows mixes up two (trio,
  ``_io_windows.py``, on AFD). So a wider one waits until the narrower one was cancelled and has
  come back, and the poll of a number that is used again until the one of its predecessor has
  (wepoll#35). One that is wider than wanted stays, and what nobody wants of it is left out.
* The result of a poll that was cancelled is never told: it may be about an older interest, or about
  another file. What holds is told by the next poll.
"""

from __future__ import annotations

import errno
from enum import Enum
from functools import cache
from threading import RLock
from typing import ClassVar

from netcore.contract import (
    CLOSED,
    CONDITIONS,
    EVENT_READ,
    EVENT_WRITE,
    FAILED,
    ONESHOT,
    WOKEN,
    CompletionBackend,
    ReadinessBackend,
)
from netcore.operations import Operation, Poll

_WSAENOTSOCK = 10038
_NOT_OPEN = (errno.EBADF, errno.ENOTSOCK, _WSAENOTSOCK)


class State(Enum):
    """Where the poll of a watch is."""

    IDLE = "nothing is in flight"
    IN_FLIGHT = "its result counts"
    CANCELLING = "its result does not count any more"


class Watch(Poll):
    """A descriptor that is watched, and its poll."""

    __slots__ = ("state", "wanted")

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        #: The interest of the core; 0 when there is none, or when a one-shot was delivered.
        self.wanted = 0
        self.state = State.IDLE


class ReadinessOverCompletion(ReadinessBackend):
    """A readiness backend by polls on ``native``; ``readiness_over`` makes the classes."""

    #: What carries out the polls.
    native: ClassVar[type[CompletionBackend]]
    live = True
    # A poll is submitted by number, and the number may have a new owner since the last one.
    tracks_files = False
    wakes = True
    read_mask, write_mask = EVENT_READ, EVENT_WRITE

    @classmethod
    def available(cls) -> bool:
        return cls.native.available()

    def __init__(self) -> None:
        self._native = self.native()
        #: What else the completion backend has done, for those who have submitted it.
        self.others: list[Operation] = []
        # Reentrant: a signal handler may come in between.
        self._lock = RLock()
        self._watches: dict[int, Watch] = {}
        # To be pursued by the next wait; in that order, and each once.
        self._dirty: dict[Watch, None] = {}
        self._waiting = False  # A change has to be pursued at once: there is a wait to be reached.
        self._interrupted = False  # An exception ended a wait: something may have got lost.
        self._woken = False

    def watch(self, fd: int, old: int, new: int) -> None:
        with self._lock:
            if not old:
                self._native.check(fd)
            watch = self._watches.get(fd)
            if watch is None:
                if not new:
                    return
                watch = self._watches[fd] = Watch(fd)
            if not old and watch.state is State.IN_FLIGHT:
                # It is about a file that was closed: the number has come back.
                watch.state = State.CANCELLING
                self._native.cancel(watch)
            before, watch.wanted = watch.wanted, new
            if new and not self._waiting:
                self._dirty[watch] = None
                return
            try:
                self._pursue(watch)
            except BaseException:
                watch.wanted = before
                self._dirty[watch] = None
                raise

    def wait(self, timeout: float | None, limit: int | None = None) -> list[tuple[int, int]]:
        while True:
            try:
                with self._lock:
                    self._waiting = True
                    answers = self._pursue_all(limit)
                room = limit and limit - len(answers)
                if answers:
                    timeout = 0
                    if room == 0:
                        return answers
                done = self._native.wait(timeout, room)
                with self._lock:
                    if self._woken:
                        self._woken = False
                        answers.append((WOKEN, 0))
                    for watch in done:
                        if isinstance(watch, Watch):
                            events = self._settle(watch)
                            if events:
                                answers.append((watch.fd, events))
                        else:
                            self.others.append(watch)
            except BaseException:
                self._interrupted = True
                raise
            finally:
                self._waiting = False
            # Only stale results, and behind them perhaps something that is ready now.
            if answers or self.others or not done or timeout != 0:
                return answers

    def wake(self) -> None:
        self._woken = True
        self._native.wake()

    @property
    def carrier(self) -> CompletionBackend | None:
        """The completion backend, if there is more that it carries out than polls."""
        return self._native if self.native.operations else None

    def close(self) -> None:
        self._native.close()
        self._watches.clear()
        self._dirty.clear()

    def abandon(self) -> None:
        self._native.abandon()

    # -- from wishes to what is in flight, and from results to answers; under the lock

    def _pursue_all(self, limit: int | None) -> list[tuple[int, int]]:
        """Submit and cancel as wanted; the answers for what could not be submitted."""
        answers: list[tuple[int, int]] = []
        if self._interrupted:
            self._find_lost()
            self._interrupted = False
        for watch in list(self._dirty):
            if limit is not None and len(answers) >= limit:
                break
            try:
                self._pursue(watch)
            except OSError as error:
                # Of other failures the caller learns from its own calls; until then they are told
                # again and again, as for any socket that has failed.
                found = CLOSED if error.errno in _NOT_OPEN else FAILED
                answers.append((watch.fd, self._answer(watch, found)))
                if watch.wanted:
                    continue
            self._dirty.pop(watch, None)
        return answers

    def _pursue(self, watch: Watch) -> None:
        """Bring what is in flight towards what is wanted. Raises the OSError of ``submit``."""
        wanted = watch.wanted & CONDITIONS
        if watch.state is State.IDLE:
            if wanted:
                self._submit(watch, wanted)
            else:
                self._dirty.pop(watch, None)
                if self._watches.get(watch.fd) is watch:
                    del self._watches[watch.fd]
        elif watch.state is State.IN_FLIGHT:
            if not wanted or wanted & ~watch.events:
                watch.state = State.CANCELLING
                self._native.cancel(watch)
            # Else it is wide enough.
        elif watch.state is State.CANCELLING:
            pass  # When it is back, it is pursued again.

    def _submit(self, watch: Watch, events: int) -> None:
        watch.events, watch.state = events, State.IN_FLIGHT
        try:
            self._native.submit(watch)
        except BaseException:
            if not watch.in_flight:
                watch.state = State.IDLE
            else:
                self._replace(watch)
            raise

    def _settle(self, watch: Watch) -> int:
        """``watch`` has come back: what to answer for it, or 0."""
        self._dirty[watch] = None
        state, watch.state = watch.state, State.IDLE
        if state is State.IN_FLIGHT:
            return self._answer(watch, watch.found)
        # CANCELLING: and whoever is behind the number now, it is to be looked at afresh.
        watch.native = None
        return 0

    def _answer(self, watch: Watch, found: int) -> int:
        """What is told of ``found``, and what is wanted afterwards."""
        if found & CLOSED:
            watch.wanted = 0
            return CLOSED
        wanted = watch.wanted & CONDITIONS
        events = found & wanted or (wanted if found & FAILED else 0)
        if events and watch.wanted & ONESHOT:
            watch.wanted = 0
        return events

    # -- after an exception

    def _replace(self, watch: Watch) -> None:
        """Nobody knows whether it is in flight: it is left to itself, another takes its place."""
        other = self._watches[watch.fd] = Watch(watch.fd)
        other.wanted, watch.wanted = watch.wanted, 0
        self._dirty[other] = None
        watch.state = State.CANCELLING
        self._native.cancel(watch)

    def _find_lost(self) -> None:
        """Take back what was done in a wait that was ended by an exception."""
        for watch in self._watches.values():
            if watch.state is not State.IDLE and not watch.in_flight:
                watch.state = State.IDLE
                watch.native = None
                self._dirty[watch] = None


@cache
def readiness_over(native: type[CompletionBackend]) -> type[ReadinessOverCompletion]:
    """The class of the readiness backends by polls on ``native``, under the name of ``native``."""
    inherited = (
        *("name", "needs", "timeout_granularity", "max_descriptors"),
        *("sockets_only", "scalable", "dense", "exact_cancelled_send", "operations"),
        *("__module__", "__qualname__", "__doc__"),
    )
    namespace = {name: getattr(native, name) for name in inherited}
    supports = native.supports | ONESHOT
    return type(
        native.__name__,
        (ReadinessOverCompletion,),
        {**namespace, "native": native, "supports": supports},
    )
