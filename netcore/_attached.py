"""The life of a selector: its backend and its wake-up channel, from first to last, over forks."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable
from threading import RLock
from typing import NoReturn, SupportsIndex, TypeVar

from netcore._emulation import CompletionOverReadiness
from netcore._registration import Registration
from netcore._registry import is_stale
from netcore._tables import nothing
from netcore._waker import NativeWaker, Waker, new_waker
from netcore.contract import EVENT_READ, ReadinessBackend

Pairs = list[tuple[int, int]]
Self = TypeVar("Self", bound="Attached")


class Attached(Registration):
    """The half of the Selector that makes, wakes, replaces and closes what is below it."""

    _wait: Callable[..., Pairs]
    _batch: int | None  # How much the backend is asked for at once.
    _driver: CompletionOverReadiness | None  # Carries out operations, once there were any.
    _disposed = False
    _masks: dict[int, int]  # What events_of() said before.
    _woken: bool  # wakeup() was called, and no wait has ended for it yet.

    # -- waking

    def wakeup(self) -> None:
        """End the wait that is running, or else the next one, without an event.

        Safe from any thread and in a signal handler. Many calls before one wait ends are one.
        """
        with self._lock:  # Else close() might give the channel's number to somebody else.
            self._check_open()
            self._leave_parent()
            if not self._woken:
                try:
                    self._woken = True
                    self._wake()
                except BaseException:  # From a signal handler: once too often is better than never.
                    self._woken = False
                    raise

    def _wake(self) -> None:
        try:
            self._waker.set()
        except OSError:
            self._renew_waker()
            self._waker.set()

    def _drain(self) -> None:
        try:
            self._waker.drain()
        except OSError:
            self._renew_waker()

    def _renew_waker(self) -> None:
        """Replace a channel that was broken by somebody: closed, shut down, lost in a sleep."""
        if self._disposed:  # By a signal handler, and with it the channel.
            raise_closed()
        broken = self._waker
        if broken.fileno() not in self._fd_to_key:  # Else the number is somebody else's by now.
            try:
                self._backend.watch(broken.fileno(), EVENT_READ, 0)
            except (OSError, ValueError):
                pass  # Closed: gone already.
        self._adopt(new_waker(self._make), self._backend)
        broken.close()

    # -- life

    def _adopt(self, waker: Waker, backend: ReadinessBackend) -> None:
        """Have ``backend`` watch ``waker``, or close it and raise."""
        if isinstance(waker, NativeWaker):
            waker.set = backend.wake
            self._waker = waker
            return
        fd = waker.fileno()
        try:
            backend.watch(fd, 0, EVENT_READ)
            if self._make.dense and fd >= len(self._readable):
                self._grow(fd)
            self._readable[fd] = self._writable[fd] = None
        except BaseException:
            if waker is not getattr(self, "_waker", None):
                waker.close()
            raise
        self._waker = waker

    def _attach(self, native: ReadinessBackend) -> None:
        """Work with ``native`` from now on. Calls nothing once it has begun: it is done or not."""
        raw = native.raw()
        interest = self._told
        if raw:
            interest = {events: raw.mask(told) for events, told in self._told.items()}
        watch: Callable[[int, int, int], None] = native.watch
        wait: Callable[..., Pairs] = native.wait
        if raw:
            self._add, self._modify, self._remove, wait = raw.add, raw.modify, raw.remove, raw.wait
        self._backend, self._watch, self._wait, self._interest = native, watch, wait, interest
        self._raw = raw is not None
        if self._closed:  # By a signal handler.
            self._detach()

    def _detach(self) -> None:
        self._raw, self._wait, self._watch = False, raise_closed, raise_closed

    def _events_of(self, mask: int) -> int:
        """The backend's, remembered."""
        try:
            return self._masks[mask]
        except KeyError:
            return self._masks.setdefault(mask, self._make.events_of(mask))

    @property
    def _native(self) -> ReadinessBackend:
        """The backend of the kernel interface."""
        driver = self._driver
        return driver.native if driver else self._backend

    def _carry_out(self) -> CompletionOverReadiness:
        """From now on operations can be submitted."""
        with self._lock:
            self._check_open()
            self._leave_parent()
            if self._driver is None:
                driver = CompletionOverReadiness(
                    self._backend, self._interest_of, self._events_of, self._lock
                )
                if self._driver is None:  # Else a signal handler was faster.
                    self._driver = driver
                    try:
                        self._attach(driver)
                    except BaseException:  # Of a signal handler, which may have submitted to it.
                        self._attach(driver)
                        raise
                if self._closed:
                    self._driver = None
                    raise_closed()
                if self._batch:
                    self._batch = max(self._batch, 64)  # Each wait costs more now.
                if self._waiting:
                    self._wake()  # To begin anew, with the driver.
            return self._driver

    def _interest_of(self, fd: int) -> int:
        """What the backend was told of ``fd`` for its registration; there is a row for it then."""
        if self._make.dense and fd >= len(self._readable):
            self._grow(fd)  # The kernel may tell of it later.
        key = self._fd_to_key.get(fd)
        if key is None or fd in self._silent or self._fired.get(fd) is key or is_stale(key):
            return 0
        return self._told[key.events]

    def _move(self, waker: Waker) -> ReadinessBackend:
        """Take everything to a fresh backend and return the old one.

        In it there are no ghosts, and nothing that is shared with the process that forked us.
        One-shot interests that were delivered already are armed again.
        """
        old, fresh, driver = self._native, self._make(), self._driver
        try:
            self._adopt(waker, fresh)
            for key in list(self._fd_to_key.values()):
                if key.fd not in self._silent:
                    try:
                        fresh.watch(key.fd, 0, self._told[key.events])
                    except OSError:
                        self._silent.add(key.fd)  # Closed meanwhile.
            if driver:
                driver.move(fresh)
            self._attach(driver or fresh)
            self._fired.clear()
        except BaseException:
            if self._native is not fresh:
                fresh.close()
            raise
        suspects, self._suspects = self._suspects, set()
        for fd in suspects - self._silent:
            if fd in self._fd_to_key:
                self._set_rows(self._fd_to_key[fd])
        if self._disposed:  # By a signal handler.
            waker.close()
            fresh.close()
        return old

    def close(self) -> None:
        """Forget all registrations and end the wait that is running with RuntimeError.

        Idempotent. The registered files stay open. The descriptors of the selector itself are
        closed when the waiting thread has left.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._fd_to_key.clear()
            self._fired.clear()
            self._detach()
            self._driver = None
            if self._waiting:
                self._wake()
            else:
                self._dispose()

    def _dispose(self) -> None:
        with self._lock:
            if not self._disposed:
                self._disposed = True
                if self._forked:
                    self._backend.abandon()
                else:
                    self._backend.close()
                self._waker.close()
                # The rows hold keys, and these what the user gave.
                self._readable = self._writable = defaultdict(nothing)

    def _check_open(self) -> None:
        if self._closed:
            raise_closed()

    @property
    def fileno(self) -> Callable[[], int]:
        """``fileno()``: a descriptor that is readable when something is ready, for nesting.

        Only with a backend that has one: poll and select have not, as in the stdlib. It changes
        when the backend is made afresh: in a forked child, and to be rid of what a registered
        descriptor left behind that was closed while a duplicate lives.
        """
        self._check_open()
        self._leave_parent()
        own: Callable[[], int] | None = getattr(self._native, "fileno", None)
        if own is None:
            raise AttributeError(f"the {self.backend} backend has no descriptor of its own")
        return own

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"a selector cannot be copied or pickled: {self!r}")

    def __enter__(self: Self) -> Self:
        self._check_open()
        return self

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):  # True: __init__ has failed.
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._fd_to_key)} registered"
        return f"<netcore.{type(self).__name__} {self.backend}, {state}>"

    # -- fork

    def _after_fork(self) -> None:
        """In the child: let the next call leave the parent's backend alone."""
        if not self._closed:
            self._lock = RLock()  # Another thread may have held the old one.
            self._waiting = self._woken = False
            self._touched = set()
            self._forked = True
            self._raw, self._interest = False, self._told
            if self._driver:
                self._driver.orphan(self._lock)
            self._wait, self._watch = self._wait_in_child, self._watch_in_child

    def _leave_parent(self) -> None:
        if self._forked:
            with self._lock:
                shared = self._waker
                self._move(new_waker(self._make)).abandon()
                self._forked = False
                shared.close()

    def _wait_in_child(self, timeout: float | None, limit: int | None = None) -> Pairs:
        self._leave_parent()
        return self._wait(timeout, limit)

    def _watch_in_child(self, fd: int, old: int, new: int) -> None:
        self._leave_parent()
        self._watch(fd, old, new)


def raise_closed(*_: object) -> NoReturn:
    raise RuntimeError("the selector is closed")
