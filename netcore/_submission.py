"""The half of the Selector that has operations done."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from netcore._attached import Attached, raise_closed
from netcore._threads import ATOMIC, other_threads
from netcore._timeouts import LONGEST, seconds
from netcore.operations import NEVER, NOWHERE, Batch, Operation, Post, Recv, SendAll

if TYPE_CHECKING:
    from selectors import SelectorKey

    from _typeshed import FileDescriptorLike

    Rows = list[tuple[SelectorKey, int]]

AnOperation = TypeVar("AnOperation", bound=Operation)
_NUMBERS = (float, int)


class Submission(Attached):
    """Submits and cancels operations; ``wait`` hands them out."""

    def submit(self, operation: AnOperation) -> AnOperation:
        """Have ``operation`` done, and return it; it comes out of ``wait`` once, and not before.

        Until then it and its buffer belong to the selector. Any thread. Raises ValueError or
        TypeError for bad arguments and for what the backend cannot do, OSError for what is not
        open, RuntimeError for what is submitted already: then nothing will come out.
        """
        # The hot paths: what came out last is submitted once more, on the same stream and without a
        # timeout, or a new one in its place. One branch a class, because CPython specializes the
        # lookup of attributes for one. Between the look at hot_* and the new owner no other thread
        # comes in. A socket knows that it was closed, and does so faster than it says its number.
        kind: Any = type(operation)
        driver: Any = self._driver  # Asked for once: another thread, or a handler, may close.
        if kind is Recv:
            if (
                operation._owner.over is driver
                and operation._channel.hot_recv is operation
                and not operation.subject._closed
                and (ATOMIC or not other_threads())
            ):
                operation._owner = driver
                operation.value = None  # A message may be long.
                if self._closed:
                    self._end_at_once(operation, driver)
                return operation
            if operation._owner is NEVER and self._recv_next(operation):
                return operation
        elif kind is SendAll and operation.buffer.__class__ is bytes:  # type: ignore[attr-defined]
            if (
                operation._owner.over is driver
                and operation._channel.hot_send is operation
                and not operation.subject._closed
                and (ATOMIC or not other_threads())
            ):
                operation._owner = driver
                driver.submitted.append(operation)
                if self._waiting or self._closed:
                    self._was_submitted(driver)
                return operation
            if operation._owner is NEVER and self._send_next(operation):
                return operation
        _check(operation)
        if not operation._owner.over and operation._owner is not NEVER:
            raise RuntimeError(f"submitted already: {operation!r}")
        if driver is None:
            driver = self._carry_out()
        elif self._forked:
            self._leave_parent()
        try:
            operation._prepare()
            if operation._call is None:
                driver.look_at(operation)
            timeout = operation._timeout
            operation._deadline = None
            if timeout is not None:
                # A nanosecond more, because the sum is rounded: it must not be less than asked.
                operation._deadline = monotonic() + seconds(timeout) + 1e-9
        except BaseException:
            operation._forget()
            # To be looked at the next time, too.
            operation._channel.forget(operation)
            operation.fd, operation._call, operation._channel = -1, None, NOWHERE
            self._check_open()
            raise
        if operation._channel.owner is not driver:
            operation._channel = NOWHERE  # It may come out before it gets one here.
        operation.error = None
        driver.keep_order(operation)
        operation._owner = driver
        driver.submitted.append(operation)
        if self._waiting or self._closed:
            self._was_submitted(driver)
        return operation

    def _was_submitted(self, driver: Any) -> None:
        """To ``driver``, while somebody waits; or after the end: nobody would ever hear of it."""
        with self._lock:  # As in ``wakeup``.
            if self._disposed:
                driver.close()
            elif self._waiting:
                self._wake()

    def _end_at_once(self, operation: Any, driver: Any) -> None:
        """A signal handler has closed the selector just before ``operation`` got its owner."""
        driver.submitted.append(operation)
        self._was_submitted(driver)

    def _recv_next(self, operation: Any) -> bool:
        """Have ``operation``, which is new, in the place of the Recv that came out last on its
        stream; False if that is not possible.
        """
        if operation._timeout is not None or not (ATOMIC or not other_threads()):
            return False
        channel = self._channel_of(operation.subject)
        last, driver = channel.hot_recv, self._driver
        if (
            last is None
            or last.subject is not operation.subject
            or last._owner.over is not driver
            or last._channel is not channel
        ):
            return False
        operation._channel, operation.fd = channel, last.fd
        operation._call, operation._direct = last._call, True
        channel.hot_recv = operation
        operation._owner = driver
        if self._closed:
            self._end_at_once(operation, driver)
        return True

    def _send_next(self, operation: Any) -> bool:
        """As ``_recv_next``, for a SendAll.

        Said once more: between the look at the last one and its end nothing may be called, and the
        lookup of attributes is specialized for one class.
        """
        if operation._timeout is not None or not (ATOMIC or not other_threads()):
            return False
        channel = self._channel_of(operation.subject)
        last, driver = channel.hot_send, self._driver
        if (
            last is None
            or last.subject is not operation.subject
            or last._owner.over is not driver
            or last._channel is not channel
        ):
            return False
        operation._channel, operation.fd = channel, last.fd
        operation._call, operation._direct = last._call, True
        operation._argument = None
        channel.hot_send = operation
        operation._owner = driver
        driver.submitted.append(operation)
        if self._waiting or self._closed:
            self._was_submitted(driver)
        return True

    def _channel_of(self, sock: Any) -> Any:
        """That of a non-blocking socket which is open; there may be none, or one of another."""
        driver = self._driver
        if driver is not None and not sock._closed and sock.gettimeout() == 0:
            try:
                return driver.table[sock.fileno()]
            except IndexError:
                pass
        return NOWHERE

    def cancel(self, operation: Operation) -> bool:
        """Ask for the end of ``operation``; False if it is not pending here.

        It still comes out of ``wait``: with OperationCancelled, or with its result if that was
        faster. Any thread.
        """
        _check(operation)
        with self._lock:
            self._check_open()
            driver = self._driver
            pending = driver is not None and driver.cancel(operation)
            if pending and self._waiting:
                self._wake()
            return pending

    def cancel_all(self, fileobj: FileDescriptorLike) -> int:
        """``cancel`` everything that is pending on ``fileobj``, and return how much that is.

        It can be closed then; what was cancelled still comes out of ``wait``. Any thread.
        """
        with self._lock:
            self._check_open()
            driver = self._driver
            count = driver.cancel_all(fileobj) if driver else 0
            if count and self._waiting:
                self._wake()
            return count

    def post(self, data: Any = None) -> Post:
        """Have an operation come out of ``wait`` whose ``data`` and result are ``data``.

        Any thread, any signal handler; those of one thread come in order.
        """
        return self.submit(Post(data=data))

    def wait(
        self, timeout: float | None = None, max_events: int | None = None
    ) -> tuple[Rows, list[Operation]]:
        """Wait for at most ``timeout`` seconds; return what is ready, as ``select``, and the
        operations that are done, oldest first.

        At most ``max_events`` of each, if given. As ``select`` in everything else, which ends when
        an operation is done, too, but keeps it for the next ``wait``.
        """
        # The hot path, as ``select`` and ``hand_out``: nothing is to be done but to send what was
        # submitted, and to ask the kernel.
        driver: Any = self._driver  # Any: as in submit.
        if driver is None or not driver.plain or max_events is not None:
            return self._wait_with_care(timeout, max_events)
        deadline = rest = None
        if timeout is not None:
            if timeout.__class__ not in _NUMBERS or not 1 < timeout < LONGEST:
                return self._wait_with_care(timeout, None)
            deadline = monotonic() + timeout + 1e-9
        if self._waiting:
            return self._wait_with_care(timeout, None)
        ready: Rows = []
        asks = False
        try:
            # Nothing is called between the test and here, as in ``select``.
            self._waiting = True
            if self._closed:
                raise_closed()
            if driver.submitted:
                driver.send()
            if driver.finished:
                asks, driver.owed = driver.owed, True  # Every other wait asks the kernel.
            elif driver.plain and not driver.submitted:
                # Nothing by another thread or a signal handler, meanwhile.
                driver.plain -= 1
                pairs = driver.native_wait(1, driver.room)
                driver.owed = False
                if pairs:
                    rest = driver.after(pairs) if other_threads() else driver.take(pairs)
                    if driver.submitted:  # By a signal handler, meanwhile.
                        driver.keep_order_of_new()
                    if rest:
                        ready = self._deliver(rest, deadline)
        except BaseException:
            driver.interrupt()
            raise
        finally:
            self._waiting = False
            if self._closed:
                self._dispose()
        if asks or not driver.finished:
            if rest:
                return ready, []
            if deadline is not None:
                timeout = max(deadline - monotonic(), 0.0)
            return self._wait_with_care(timeout, None)
        if not driver.plain:
            return ready, driver.hand_out(None)
        due = Batch()
        done, batch = driver.finished, driver.due
        driver.finished = []
        driver.due = due
        driver.announced = 0
        batch.over = driver
        return ready, done

    def _wait_with_care(
        self, timeout: float | None, max_events: int | None
    ) -> tuple[Rows, list[Operation]]:
        driver = self._driver
        if driver and driver.finished:
            timeout = 0
        ready = self.select(timeout, max_events)
        driver = self._driver  # Another thread may have submitted the first one.
        return ready, driver.hand_out(max_events) if driver else []

    def _deliver(self, pairs: Any, deadline: float | None) -> Rows:
        raise NotImplementedError

    def select(self, timeout: float | None = None, max_events: int | None = None) -> Rows:
        raise NotImplementedError


def _check(operation: object) -> None:
    if not isinstance(operation, Operation):
        raise TypeError(f"not an operation: {operation!r}")
