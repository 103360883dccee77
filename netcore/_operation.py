"""What every operation is, whatever it asks for; the kinds are in ``netcore.operations``."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, ClassVar, Final

READING: Final = 0
WRITING: Final = 1
#: Waits for conditions, in no queue.
NEITHER: Final = 2


class Nowhere:
    """The channel of an operation that has none yet."""

    __slots__ = ()
    hot_recv = hot_send = None
    owner = False

    def forget(self, operation: Operation) -> None:
        """It was never there."""


NOWHERE: Final = Nowhere()


class Batch:
    """What has operations that are finished, and come out of ``wait`` together; ``over`` is the
    driver that has handed them out then, and False before.
    """

    __slots__ = ("over",)

    def __init__(self) -> None:
        self.over: Any = False


NEVER: Final = Batch()


class OperationCancelled(OSError):
    """The operation was cancelled before it was done; errno is ECANCELED.

    ``bytes_sent`` says how much of the buffer of a sending operation was sent nevertheless.
    """

    bytes_sent: int = 0

    def __init__(self, message: str = "the operation was cancelled") -> None:
        super().__init__(errno.ECANCELED, message)

    def __reduce__(self) -> Any:
        return type(self), (self.strerror,)


class Operation:
    """One thing that is asked of the system, and told to be done later.

    ``data`` is the user's. ``timeout`` is in seconds from ``submit`` on, None for none: then it
    ends with TimeoutError, unless it is done already.
    """

    __slots__ = (
        *("_argument", "_call", "_channel", "_deadline", "_direct", "_total", "_owner"),
        *("_timeout", "_view", "data", "error", "fd", "in_flight", "native", "subject", "value"),
    )
    #: In which queue of its descriptor it waits for its turn.
    direction: ClassVar[int] = NEITHER

    #: It works on a ``socket.socket``.
    on_socket: ClassVar[bool] = False

    def __init__(
        self, subject: Any = None, *, data: Any = None, timeout: float | None = None
    ) -> None:
        self._set(subject, data, timeout)

    def _set(self, subject: Any, data: Any, timeout: float | None) -> None:
        #: What it works on: a socket, another object with ``fileno()``, or a number.
        self.subject = subject
        self.data = data
        self._timeout = timeout
        #: The descriptor that it works on, when it was submitted; -1 for none.
        self.fd = -1
        #: Why it failed, when it is done.
        self.error: BaseException | None = None
        #: What came of it, when it is done.
        self.value: Any = None
        #: A completion backend has it.
        self.in_flight = False
        #: What a completion backend keeps with it, also from one ``submit`` to the next.
        self.native: Any = None
        # Who has it: NEVER submitted, the driver, and then the Batch in which it comes out.
        self._owner: Any = NEVER
        # What the owner keeps of its descriptor.
        self._channel: Any = NOWHERE
        # How it is attempted: _call(_argument), for a send with flags behind it, if it is a single
        # system call on a stream, that is if _direct; else _call(self).
        self._call: Callable[[Any], Any] | None = None
        self._argument: Any = None
        self._direct = False
        # Bytes that were asked for, or that are to be sent until it is done.
        self._total = 0
        self._view: memoryview | None = None  # Keeps the buffer where it is.
        self._deadline: float | None = None

    @property
    def timeout(self) -> float | None:
        """Seconds from ``submit`` on, or None."""
        return self._timeout

    @timeout.setter
    def timeout(self, timeout: float | None) -> None:
        self._timeout = timeout
        if self._owner.over:
            self._channel = NOWHERE  # No hot path for those.

    @property
    def done(self) -> bool:
        """Whether it has come out of ``wait``."""
        return bool(self._owner.over)

    def result(self) -> Any:
        """What came of it. Raises what it failed with: OSError, TimeoutError, OperationCancelled.

        Raises RuntimeError if it is not done.
        """
        if not self._owner.over:
            raise RuntimeError(f"not done: {self!r}")
        if self.error is not None:
            raise self.error
        return self.value

    def _prepare(self) -> None:
        """Look at the arguments, and pin the buffer. Raises for what cannot be submitted."""

    def has_lost_its_file(self) -> bool:
        """Whether what it works on was closed since ``submit``; a bare number cannot tell."""
        return False

    def _forget(self) -> None:
        """Failed to be submitted, or came out: nothing of it is held any more."""
        if self._view is not None:
            self._argument = None
            self._view.release()
            self._view = None

    def __repr__(self) -> str:
        state = "new" if self._owner is NEVER else "done" if self._owner.over else "submitted"
        if self.done and self.error is not None:
            state = f"failed with {self.error!r}"
        on = "" if self.subject is None else f" on {self.subject!r}"
        return f"<netcore.{type(self).__name__}{on}, {state}>"


def closed_meanwhile(operation: Operation) -> OSError:
    """How ``operation`` fails when what it works on was closed while it was pending."""
    return OSError(errno.EBADF, f"closed while it was pending: {operation!r}")
