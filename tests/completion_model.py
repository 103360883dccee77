"""What a socket with operations may do: the model that ``test_completion_model`` compares with."""

from __future__ import annotations

import contextlib
import errno
import itertools
import select
import socket
import sys
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from conformance import wine
from conformance.completions import PYPY, is_pinned, pattern
from conformance.tools import reset

from netcore import (
    EVENT_READ,
    EVENT_WRITE,
    Accept,
    Connect,
    Operation,
    OperationCancelled,
    Poll,
    Read,
    Recv,
    RecvFrom,
    RecvFromInto,
    RecvInto,
    Send,
    SendAll,
    SendFile,
    SendTo,
    Write,
)
from netcore.operations import NEITHER, READING, WRITING

CONTENTS = pattern(1 << 21)
# Some PyPy resizes a bytearray that is in use.
PINS = not (PYPY and sys.version_info < (3, 10))
RECEIVING = (Recv, RecvInto, RecvFrom, RecvFromInto)
STREAM = (*RECEIVING, Send, SendAll, SendAll, SendFile, Poll)
#: Kind of socket -> what can be submitted.
KINDS: dict[str, tuple[type[Operation], ...]] = {
    "tcp": STREAM,
    "udp": (*RECEIVING, SendTo, Poll),
    "connected udp": (*RECEIVING, Send, SendAll, Poll),
    "listener": (Accept, Accept, Poll),
    "connect": (Connect,),
}
if sys.platform != "win32":
    KINDS.update({"unix": STREAM, "reader": (Read, Read, Poll), "writer": (Write, Write, Poll)})
DATAGRAMS = ("udp", "connected udp")
STREAMS = ("tcp", "unix", "reader", "writer")
#: It tells of a reset as of the end, if the receive comes later (see wine.py), and goes on with a
#: send that is pending on a closed socket.
WINE = wine.version() is not None
_moments = itertools.count()


def contents(size: int) -> bytes:
    """``size`` bytes, others than the last time."""
    start = next(_moments) * 68 % (1 << 20)
    return CONTENTS[start : start + size]


def is_ready(sock: Any) -> int:
    """EVENT_READ and EVENT_WRITE as the kernel has it now."""
    readable, writable, _ = select.select([sock], [sock], [], 0)
    return (EVENT_READ if readable else 0) | (EVENT_WRITE if writable else 0)


@dataclass(eq=False)
class Record:
    """An operation that was submitted and has not come out."""

    op: Operation
    end: End | None
    #: What it is to send.
    content: bytes = b""
    buffer: bytearray | None = None
    #: It must not have timed out before.
    deadline: float | None = None
    cancelled: bool = False

    def check_pending(self) -> None:
        assert not self.op.done, f"done and has not come out: {self.op}"
        if PINS and self.buffer:
            assert is_pinned(self.buffer), f"may be written to, and is not pinned: {self.op}"

    def check_released(self) -> None:
        kept = WINE and self.end is not None and self.end.closed
        assert not PINS or kept or self.buffer is None or not is_pinned(self.buffer)

    def check_out(self) -> None:
        """It has just come out, as it may."""
        op, error = self.op, self.op.error
        assert op.done
        self.check_released()
        if isinstance(error, OperationCancelled):
            assert self.cancelled, f"nobody has cancelled {op}"
        elif isinstance(error, TimeoutError):
            assert self.deadline is not None, f"without a timeout: {op}"
            assert monotonic() >= self.deadline, f"before its time: {op}"
        elif self.end is None:
            assert op.result() is op.data
        if self.end is not None:
            self.end.came_out(self)


@dataclass(eq=False)
class Line:
    """One direction: what one side has put in, and the other has got."""

    put: bytearray = field(default_factory=bytearray)
    got: bytearray = field(default_factory=bytearray)
    datagrams: list[bytes] = field(default_factory=list)

    def check(self) -> None:
        common = min(len(self.put), len(self.got))
        assert self.put[:common] == self.got[:common], "bytes are lost, mixed or doubled"


@dataclass(eq=False)
class End:
    """A socket with operations, and its peer, which is used directly."""

    kind: str
    near: Any
    peer: Any
    into: Line = field(default_factory=Line)
    out: Line = field(default_factory=Line)
    pending: list[Record] = field(default_factory=list)
    #: Registered for, or None.
    mask: int | None = None
    #: What is ready must be told.
    armed: bool = False
    closed: bool = False
    shut: bool = False  # For sending.
    #: The peer: has ended its stream; was closed; and the connection may be, or surely is, reset.
    ended: bool = False
    gone: bool = False
    unclean: bool = False
    reset: bool = False
    failed: bool = False  # An operation was told of the reset.
    #: A cancelled send tells exactly what it has sent; none has been cancelled where it does not.
    exact: bool = True
    known: bool = True
    #: For a listener: who waits to be accepted, by address; and whom it has accepted.
    clients: dict[Any, socket.socket] = field(default_factory=dict)
    accepted: list[tuple[Any, Any]] = field(default_factory=list)

    def is_in_use(self) -> bool:
        """Whether somebody may do away with what makes it readable before that is told: the data,
        or the failure of a datagram, which who sends may be told of, too, and which Wine forgets.
        """
        if self.kind in DATAGRAMS and (self.queue(WRITING) or (WINE and self.gone)):
            return True
        return bool(self.queue(READING))

    def queue(self, direction: int) -> list[Record]:
        return [record for record in self.pending if record.op.direction == direction]

    def could_be_done(self) -> list[Record]:
        """What is pending and need not be."""
        if not self.pending:
            return []
        if self.closed:
            return self.pending
        soon = monotonic() - 0.05
        late = [r for r in self.pending if r.cancelled or (r.deadline and r.deadline < soon)]
        ready = is_ready(self.near)
        reads = self.queue(READING) if ready & EVENT_READ else []
        writes = self.queue(WRITING) if ready & EVENT_WRITE else []
        polls = [record for record in self.queue(NEITHER) if record.op.events & ready]  # type: ignore[attr-defined]
        return [*late, *reads[:1], *writes[:1], *polls]

    def untold(self) -> int:
        """The events that are to be told now."""
        if self.closed or not self.mask or not self.armed or self.kind == "connect":
            return 0  # Of a socket that is not connected, each kernel has another opinion.
        mask = self.mask
        for direction, event in ((READING, EVENT_READ), (WRITING, EVENT_WRITE)):
            if self.queue(direction):
                mask &= ~event  # Readiness is a hint, now.
        return mask & is_ready(self.near)

    def came_out(self, record: Record) -> None:
        op, error = record.op, record.op.error
        is_first = self.queue(op.direction)[0] is record
        self.pending.remove(record)
        if isinstance(error, (OperationCancelled, TimeoutError)):
            if op.direction == WRITING:
                self._sent(record, getattr(error, "bytes_sent", 0), is_first)
            return
        # What is ended by closing comes out in no order; a client that is gone costs an Accept its
        # turn on Windows.
        loose = self.closed or (self.kind == "listener" and sys.platform == "win32")
        in_turn = is_first or op.direction == NEITHER or loose
        assert in_turn, f"overtook another one: {op}"
        if error is not None:
            assert isinstance(error, OSError), repr(error)
            self._check_failure(op, error)
        if op.direction == WRITING:
            self._sent(record, getattr(error, "bytes_sent", 0) if error else op.value, is_first)
        elif error is None and isinstance(op, Poll):
            assert op.value
            assert not op.value & ~op.events
        elif error is None and isinstance(op, Accept):
            sock, address = op.value
            assert sock.gettimeout() == 0
            assert address in self.clients, f"not a client, or once more: {address}"
            self.accepted.append((sock, self.clients.pop(address)))
        elif error is None:
            self._received(record)

    def _check_failure(self, op: Operation, error: OSError) -> None:
        if self.closed:
            return
        if isinstance(error, ConnectionResetError):
            assert self.unclean, f"nobody has reset the connection: {op}"
            self.failed = True
        elif isinstance(error, BrokenPipeError) or (
            sys.platform == "win32" and error.errno == errno.ENOTCONN
        ):
            assert op.direction == WRITING, f"while receiving: {op}"
            assert self.gone or self.shut, f"the peer is there: {op}"
        else:
            assert isinstance(error, ConnectionRefusedError), repr(op)
            assert self.gone, repr(op)

    def _sent(self, record: Record, size: int | None, is_first: bool) -> None:
        op = record.op
        if isinstance(op, Connect):
            return
        size, length = size or 0, len(record.content)
        assert 0 <= size <= length
        assert is_first or not size, f"has begun before its turn: {op}"
        if op.error is None:
            assert size == length or isinstance(op, (Send, Write)), f"not all: {op}"
            assert size or not length, f"nothing: {op}"
        assert getattr(op, "bytes_sent", size) == size
        self.known = self.known and (self.exact or op.error is None)
        if self.kind in DATAGRAMS:
            assert op.error is not None or size == length, f"a part of a datagram: {op}"
            return
        self.out.put += record.content[:size]
        self.check_out()

    def _received(self, record: Record) -> None:
        op: Any = record.op
        value = op.value
        if isinstance(op, (RecvFrom, RecvFromInto)):
            value, address = value
            if self.kind in DATAGRAMS and not self.gone:
                assert address == self.peer.getsockname()
        if record.buffer is not None:
            assert not any(record.buffer[value:]), "written to beyond what was received"
            value = bytes(record.buffer[:value])
        if self.kind in DATAGRAMS:
            size = op.size if record.buffer is None else len(record.buffer)
            whole = self.into.datagrams.pop(0)
            assert value == whole[:size]
            assert op.truncated is (len(whole) > size)
            return
        if not value:
            assert self.ended, f"the stream goes on: {op}"
            assert not self.reset or WINE, f"the connection was reset: {op}"
            assert not self.failed, f"the connection had been reset: {op}"
            assert self.unclean or self.into.got == self.into.put, f"not yet the end: {op}"
        self.into.got += value
        assert len(self.into.got) <= len(self.into.put), f"nobody has sent that: {op}"
        self.into.check()

    def check_out(self) -> None:
        if self.known:
            self.out.check()

    def peer_sends(self, size: int) -> None:
        if self.gone or self.ended or self.kind in ("listener", "connect", "writer"):
            return
        data = contents(size)
        try:
            if self.kind in DATAGRAMS:
                self.peer.sendto(data, self.near.getsockname())
                self.into.datagrams.append(data)
            else:
                self.into.put += data[: self.peer.send(data)]
        except BlockingIOError:
            pass

    def peer_receives(self, size: int) -> int:
        """How many bytes."""
        if self.gone or self.kind in ("listener", "connect", "reader"):
            return 0
        try:
            data = self.peer.recv(size if self.kind in STREAMS else 1 << 16)
        except BlockingIOError:
            return 0
        if self.kind not in DATAGRAMS:
            self.out.got += data
            self.check_out()
        return len(data)

    def peer_ends(self, how: str) -> None:
        if self.gone or self.kind in ("listener", "connect"):
            return
        if how == "shut" and self.kind in ("tcp", "unix"):
            with contextlib.suppress(OSError):  # Not connected any more.
                self.peer.shutdown(socket.SHUT_WR)
        else:
            self.gone = True
            unread = len(self.out.got) < len(self.out.put) or self.queue(WRITING)
            if how == "reset" and self.kind == "tcp":
                self.reset = not self.ended
                self.unclean = True
                reset(self.peer)
            self.unclean = self.unclean or bool(unread)
            self.peer.close()
        self.ended = True
