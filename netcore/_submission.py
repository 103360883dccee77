"""The half of the Selector that has operations done."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from netcore._attached import Attached
from netcore._threads import other_threads
from netcore._timeouts import seconds
from netcore.operations import NEVER, NOWHERE, Operation, Post, Recv, SendAll

if TYPE_CHECKING:
    from selectors import SelectorKey

    from _typeshed import FileDescriptorLike

    Rows = list[tuple[SelectorKey, int]]

AnOperation = TypeVar("AnOperation", bound=Operation)

# CPython with its lock switches threads, and runs signal handlers, after calls only; before 3.10
# anywhere.
_ATOMIC = (
    sys.implementation.name == "cpython"
    and sys.version_info >= (3, 10)
    and getattr(sys, "_is_gil_enabled", lambda: True)()
)


class Submission(Attached):
    """Submits and cancels operations; ``wait`` hands them out."""

    def submit(self, operation: AnOperation) -> AnOperation:
        """Have ``operation`` done, and return it; it comes out of ``wait`` once, and not before.

        Until then it and its buffer belong to the selector. Any thread. Raises ValueError or
        TypeError for bad arguments and for what the backend cannot do, OSError for what is not
        open, RuntimeError for what is submitted already: then nothing will come out.
        """
        # The hot paths: what came out last is submitted once more, on the same stream and without a
        # timeout. One branch a class, because CPython specializes the lookup of attributes for one.
        # Between the look at last_* and the change of the channel no other thread comes in.
        # A socket knows that it was closed, and does so faster than it says its number.
        channel: Any  # What has no channel has one that belongs to nobody.
        if type(operation) is Recv:
            channel = operation._channel
            if (
                channel.owner is self._driver
                and not operation.subject._closed
                and (_ATOMIC or not other_threads())
                and operation._owner.over
                and channel.last_recv is operation
            ):
                channel.last_recv = None
                channel.reader = channel.recv = operation
                operation._owner = channel.owner
                return operation
        elif type(operation) is SendAll:
            channel, buffer = operation._channel, operation.buffer  # type: ignore[attr-defined]
            if (
                channel.owner is self._driver
                and type(buffer) is bytes
                and not operation.subject._closed
                and not other_threads()
                and operation._owner.over
                and channel.last_send is operation
            ):
                channel.last_send = None
                channel.writer = operation
                owner: Any = channel.owner
                operation._owner = owner
                # It is attempted here, and told by the next wait.
                call: Any = operation._call
                try:
                    sent = call(buffer)
                except BaseException as error:
                    owner.not_sent(operation, error)
                    return operation
                if sent == len(buffer):
                    operation.value = sent
                    channel.writer = None
                    channel.last_send = operation
                    operation._owner = owner.due
                    owner.finished.append(operation)
                else:
                    owner.sent(operation, sent)
                return operation
        driver = self._driver
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
            operation.fd, operation._call, operation._channel = -1, None, NOWHERE
            self._check_open()
            raise
        operation.error = None
        operation._owner = driver
        driver.keep_order(operation)
        driver.submitted.append(operation)
        if self._waiting:
            self._wake()
        elif self._disposed:  # Meanwhile: nobody would ever hear of it.
            driver.close()
        return operation

    def cancel(self, operation: Operation) -> bool:
        """Ask for the end of ``operation``; False if it is not pending here.

        It still comes out of ``wait``: with OperationCancelled, or with its result if that was
        faster. Any thread.
        """
        with self._lock:
            self._check_open()
            pending = self._driver is not None and self._driver.cancel(operation)
            if pending and self._waiting:
                self._wake()
            return pending

    def cancel_all(self, fileobj: FileDescriptorLike) -> int:
        """``cancel`` everything that is pending on ``fileobj``, and return how much that is.

        It can be closed then; what was cancelled still comes out of ``wait``. Any thread.
        """
        with self._lock:
            self._check_open()
            count = self._driver.cancel_all(fileobj) if self._driver else 0
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
        driver = self._driver
        if driver is None:
            ready = self.select(timeout, max_events)
            driver = self._driver
            return ready, driver.hand_out(max_events) if driver else []
        if driver.finished:
            if not driver.owed and max_events is None and not self._waiting:
                # What was sent by submit(). The next wait asks the kernel.
                driver.owed = True
                return [], driver.hand_out(None)
            timeout = 0
        ready = self.select(timeout, max_events)
        return ready, driver.hand_out(max_events)

    def select(self, timeout: float | None = None, max_events: int | None = None) -> Rows:
        raise NotImplementedError
