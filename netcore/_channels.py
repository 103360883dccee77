"""What is kept of a descriptor that operations work on."""

from __future__ import annotations

from collections import deque
from typing import Any
from weakref import ref

from netcore._registry import number_of
from netcore.contract import EDGE, EVENT_READ, EVENT_WRITE, ONESHOT
from netcore.operations import READING, WRITING, Connect, Operation, Poll, Recv, SendAll


class Channel:
    """The queues of a descriptor, and what is known of it.

    ``readable`` and ``writable`` mean: an attempt may work. They are cleared when one does not, and
    set by the kernel's word.
    """

    __slots__ = (
        *("eager", "exact", "fd", "file", "hot_recv", "hot_send", "owner", "polls"),
        *("readable", "reader", "readers", "reset", "theirs", "told"),
        *("writable", "writer", "writers"),
    )

    def __init__(self, owner: Any, fd: int, file: Any, theirs: int, eager: bool) -> None:
        #: Who made it, or False if it has forgotten it.
        self.owner = owner
        self.fd = fd
        #: The object that it belongs to: a number can belong to another one tomorrow. None for a
        #: bare number, of which nobody can tell.
        self.file: ref[Any] | None = None
        if not isinstance(file, int):
            try:
                self.file = ref(file)
            except TypeError:
                pass  # It takes no weak references: as a number.
        # Whose turn it is, and who comes after: mostly there is but one.
        self.reader: Operation | None = None
        self.readers: deque[Operation] = deque()
        self.writer: Operation | None = None
        self.writers: deque[Operation] = deque()
        #: Those are in no order.
        self.polls: list[Poll] = []
        self.readable = False  # Readiness first: a blind recv costs a system call.
        self.writable = True
        #: A read that gave less than was asked for does not mean that there is no more.
        self.eager = eager
        #: The connection was reset. Linux says so once, and then that the stream has ended.
        self.reset: OSError | None = None
        #: The interest of the kernel.
        self.told = theirs
        #: The interest of the user, who has registered it beside.
        self.theirs = theirs
        # For the hot paths, on streams that the kernel watches edge-triggered: the operation that
        # is submitted again and again. Nothing else is queued in its direction then.
        #: The stream is not readable, and the kernel will tell. It is pending if the owner has it.
        self.hot_recv: Recv | None = None
        #: The stream is writable. It is pending if it was submitted, and not yet looked at.
        self.hot_send: SendAll | None = None
        #: The kernel is told of no more than is waited for.
        self.exact = self.file is None

    def is_of(self, file: Any) -> bool:
        """Whether it belongs to ``file``, or to another object for the same open file."""
        if self.file is None or isinstance(file, int):
            # A bare number may be the same file as the last time, if nobody knows better.
            return not self.is_idle() and not self.is_closed()
        mine = self.file()
        return mine is file or (mine is not None and number_of(mine) == self.fd)

    def is_closed(self) -> bool:
        """Whether its object was closed; a bare number cannot tell."""
        if self.file is None:
            return False
        mine = self.file()
        return mine is None or number_of(mine) != self.fd

    def is_idle(self) -> bool:
        hot = self.hot_recv
        if hot is not None and hot._owner is self.owner:
            return False
        return self.reader is None and self.writer is None and not self.polls

    def is_before(self, operation: Operation) -> bool:
        """Whether something is queued for which ``operation`` has to wait."""
        self.leave_hot_paths()
        if operation.direction == WRITING:
            return self.writer is not None
        if operation.direction == READING:
            return self.reader is not None or isinstance(self.writer, Connect)
        return False

    def is_polled_for(self, direction: int) -> bool:
        events = {READING: EVENT_READ, WRITING: EVENT_WRITE}.get(direction, 0)
        return any(poll.events & events for poll in self.polls)

    def leave_hot_paths(self) -> None:
        """Something unusual is about to happen: look at it with care."""
        # Nothing is called in between, so that no other thread submits it (see _submission.py).
        operation, self.hot_recv, self.hot_send = self.hot_recv, None, None
        if operation is not None and operation._owner is self.owner:
            self.reader = operation

    def let_go(self) -> None:
        """Hold nothing that is not pending: it has come out a while ago."""
        self.let_go_of_recv()
        self.hot_send = None

    def let_go_of_recv(self) -> None:
        """As ``let_go``; nothing is called here, for the same reason as in ``leave_hot_paths``."""
        operation = self.hot_recv
        if operation is not None and operation._owner is not self.owner:
            self.hot_recv = None

    def forget(self, operation: Operation) -> None:
        """``operation`` has failed, or was refused: it is to be looked at with care."""
        if self.hot_send is operation:
            self.hot_send = None
        if self.hot_recv is operation:
            self.leave_hot_paths()

    def is_hot(self, operation: Operation) -> bool:
        """Whether the hot paths may be taken for ``operation``, from what is always so."""
        edge = self.told & EDGE and self.told & EVENT_READ and not self.theirs and not self.polls
        return bool(edge and operation._direct and operation._timeout is None)

    def append(self, operation: Operation) -> bool:
        """Queue ``operation``; whether it is its turn."""
        if operation.direction == READING:
            self.leave_hot_paths()
            if self.reader is not None:
                self.readers.append(operation)
                return False
            self.reader = operation
        elif operation.direction == WRITING:
            self.hot_send = None
            if self.writer is not None:
                self.writers.append(operation)
                return False
            self.writer = operation
        elif isinstance(operation, Poll):
            self.leave_hot_paths()
            self.polls.append(operation)
        return True

    def next_reader(self) -> None:
        """The head of the queue is done with."""
        # In this order, for ``mend``.
        self.reader = self.readers[0] if self.readers else None
        if self.readers:
            self.readers.popleft()

    def next_writer(self) -> None:
        """As ``next_reader``."""
        self.writer = self.writers[0] if self.writers else None
        if self.writers:
            self.writers.popleft()

    def mend(self) -> None:
        """An exception may have come in the middle of ``next_reader`` or ``next_writer``."""
        if self.readers and self.readers[0] is self.reader:
            self.readers.popleft()
        if self.writers and self.writers[0] is self.writer:
            self.writers.popleft()

    def remove(self, operation: Operation) -> bool:
        """Take ``operation`` out; False if it is not there."""
        self.leave_hot_paths()
        if operation is self.reader:
            self.next_reader()
        elif operation is self.writer:
            self.next_writer()
        else:
            for queue in (self.readers, self.writers, self.polls):
                if operation in queue:
                    queue.remove(operation)  # type: ignore[arg-type]  # It is in there.
                    return True
            return False
        return True

    def clear(self) -> None:
        """Forget what is queued, and who made it."""
        self.owner = False
        self.hot_recv = self.hot_send = self.reader = self.writer = None
        self.readers.clear()
        self.writers.clear()
        self.polls.clear()

    def pending(self) -> list[Operation]:
        """All that are queued."""
        self.leave_hot_paths()
        heads = [operation for operation in (self.reader, self.writer) if operation is not None]
        return [*heads, *self.readers, *self.writers, *self.polls]

    def is_told(self) -> bool:
        """Whether the kernel knows of all that is waited for, once for good."""
        return bool(self.told & EDGE and not self._waited() & ~self.told)

    def _waited(self) -> int:
        """What the heads of the queues wait for."""
        waited = EVENT_READ if self.reader is not None else 0
        return waited if self.writer is None else waited | EVENT_WRITE

    def wanted(self, edge: int) -> int:
        """The interest that the kernel should be told of; ``edge`` are the bits of one that is
        edge-triggered, besides READ and WRITE, and 0 where there is none.

        Such an interest stays for good and only grows, unless the user has another one.
        """
        self.leave_hot_paths()
        ours = self._waited()
        for poll in self.polls:
            ours |= poll.events
        if edge and not self.exact and (not self.theirs or self.theirs & EDGE):
            if ours & EVENT_READ and not self.eager:
                ours |= edge
            interest = self.theirs | ours | (self.told if self.told & EDGE else 0)
            return (interest | EDGE) & ~ONESHOT if interest else 0
        return (self.theirs | ours) & ~ONESHOT
