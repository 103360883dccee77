"""A selector and sockets, and what a random program does with them."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from time import monotonic
from typing import Any

import pytest
from completion_model import (
    CONTENTS,
    DATAGRAMS,
    KINDS,
    WINE,
    End,
    Record,
    contents,
)
from conformance.tools import PipeEnd, reset, tcp_pair

import netcore
from netcore import EVENT_READ, EVENT_WRITE
from netcore.operations import WRITING

LONGEST_DATAGRAM = 2000
EVENTS = (EVENT_READ, EVENT_WRITE, EVENT_READ | EVENT_WRITE)


def new_ends(kind: str, target: socket.socket) -> list[End]:
    """Sockets of ``kind`` with small buffers, and their peers."""
    if kind in ("tcp", "unix"):
        near, peer = tcp_pair() if kind == "tcp" else socket.socketpair()
        for sock in (near, peer):
            sock.setblocking(False)
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, 16384)
        return [End(kind, near, peer)]
    if kind in DATAGRAMS:
        near, peer = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
        for sock in (near, peer):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        if kind != "udp":
            near.connect(peer.getsockname())
        return [End(kind, near, peer)]
    if kind == "listener":
        near = socket.create_server(("127.0.0.1", 0), backlog=64)
        near.setblocking(False)
        return [End(kind, near, None)]
    if kind == "connect":
        near = socket.socket()
        near.setblocking(False)
        return [End(kind, near, target)]
    (a, b), (c, d) = os.pipe(), os.pipe()
    return [End("reader", PipeEnd(a), PipeEnd(b)), End("writer", PipeEnd(d), PipeEnd(c))]


def own_events(kind: str) -> int:
    """All but what means something else on each OS: that a pipe's reading end is writable."""
    return ~{"reader": EVENT_WRITE, "writer": EVENT_READ}.get(kind, 0)


class Steps:
    """The steps of a program; numbers stand for sockets and operations, whatever there is."""

    def __init__(self, backend: str) -> None:
        self.selector = netcore.Selector(backend)
        self.target = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.target.setblocking(False)
        self.file = tempfile.TemporaryFile()  # noqa: SIM115  # close() does.
        self.file.write(CONTENTS)
        self.file.flush()
        self.connections: dict[Any, socket.socket] = {}
        self.ends: list[End] = []
        self.all_ends: list[End] = []
        self.pending: dict[netcore.Operation, Record] = {}
        #: What came out and can be submitted again.
        self.free: list[Record] = []
        #: Kinds of operations and what came of them, in their order on each socket and direction.
        self.outcomes: list[tuple[int, str, str]] = []
        #: What the last wait has told, and what any has, but for what may have become untrue.
        self.told: list[tuple[int, int]] = []
        self.ready: set[tuple[int, int]] = set()

    def close(self) -> None:
        self.selector.close()
        self.target.close()
        self.file.close()
        for sock in self.connections.values():
            sock.close()
        for end in self.all_ends:
            for sock in (end.near, end.peer, *end.clients.values()):
                if sock is not None:
                    sock.close()

    def end(self, which: int) -> End | None:
        return self.ends[-1 - which % len(self.ends)] if self.ends else None

    def wait(self, timeout: float, most: int | None = None, serve: bool = False) -> list[Record]:
        raise NotImplementedError

    # -- sockets

    def open(self, kind: str) -> None:
        if len(self.ends) < 6:
            new = new_ends(kind, self.target)
            for end in new:
                end.exact = self.selector._make.exact_cancelled_send
            self.ends += new
            self.all_ends += new

    def peer(self, which: int, how: str, size: int) -> None:
        """Have the peer send, receive, or end."""
        end = self.end(which)
        if end is None:
            return
        if end.kind == "listener":
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(end.near.getsockname())
            address = client.getsockname()
            end.clients[address] = client
            if how == "reset":
                reset(client)
        elif how == "send":
            end.peer_sends(min(size, LONGEST_DATAGRAM) if end.kind in DATAGRAMS else size)
        elif how == "receive":
            end.peer_receives(size)
        else:
            end.peer_ends(how)

    def shut(self, which: int) -> None:
        end = self.end(which)
        if end and end.kind in ("tcp", "unix") and not end.shut:
            end.shut = True
            with contextlib.suppress(OSError):  # Not connected any more.
                end.near.shutdown(socket.SHUT_WR)

    def shut_down(self, which: int, politely: bool) -> None:
        """Close the near end."""
        end = self.end(which)
        if end is not None and WINE:
            self.end_sends(end)
        if end not in self.ends:
            return
        which = -1 - self.ends.index(end)
        if politely:
            self.cancel_all(which)
            if end.mask is not None:
                self.selector.unregister(end.near)
        end.closed = True
        end.near.close()
        if end.peer is not self.target and end.peer is not None:
            end.gone = end.ended = True
            end.peer.close()
        self.ends.remove(end)

    def end_sends(self, end: End) -> None:
        """Wine goes on with them by number, which another socket has soon."""
        if end.queue(WRITING):
            self.cancel_all(-1 - self.ends.index(end))
        while end.queue(WRITING):
            self.wait(0.01)

    # -- operations

    def submit(self, which: int, kind: int, size: int, timeout: float | None, pin: bool) -> None:
        end = self.end(which)
        if end is None or len(self.pending) > 30:
            return
        cls = KINDS[end.kind][kind % len(KINDS[end.kind])]
        if cls is netcore.Connect and (end.pending or end.accepted):
            return
        if end.kind in DATAGRAMS:
            size = min(size, LONGEST_DATAGRAM)
        record = Record(None, end)  # type: ignore[arg-type]
        arguments: tuple[Any, ...] = ()
        if cls in (netcore.Recv, netcore.RecvFrom, netcore.Read):
            arguments = (size,)
        elif cls in (netcore.RecvInto, netcore.RecvFromInto):
            record.buffer = bytearray(size)
            arguments = (record.buffer,)
        elif cls is netcore.SendFile:
            record.content = CONTENTS[17 : 17 + size]
            arguments = (self.file, 17, size)
        elif cls is netcore.Poll:
            arguments = (
                EVENTS[size % 3] & own_events(end.kind) or EVENTS[2] & own_events(end.kind),
            )
        elif cls is netcore.Connect:
            arguments = (self.target.getsockname(),)
        elif cls is not netcore.Accept:
            record.content = contents(size)
            record.buffer = bytearray(record.content) if pin else None
            arguments = (record.buffer if pin else record.content,)
            if cls is netcore.SendTo:
                address = ("127.0.0.1", 9) if end.gone else end.peer.getsockname()
                arguments += (address,)
        record.op = cls(end.near, *arguments, timeout=timeout)
        self.put(record)

    def put(self, record: Record) -> None:
        """Submit what is prepared."""
        op, end = record.op, record.end
        if op.timeout is not None:
            record.deadline = monotonic() + op.timeout
        assert self.selector.submit(op) is op
        self.pending[op] = record
        if end is not None:
            end.pending.append(record)
            if op.direction == WRITING and end.gone:
                end.unclean = True

    def again(self, which: int, size: int) -> None:
        """Submit what has come out once more, with something else to send."""
        self.free = [r for r in self.free if r.end is None or not r.end.closed]
        if not self.free or len(self.pending) > 30:
            return
        old = self.free.pop(-1 - which % len(self.free))
        op: Any = old.op
        new = Record(op, old.end)
        if old.content and not isinstance(op, netcore.SendFile):
            assert old.end is not None
            if old.end.kind in DATAGRAMS:
                size = min(size, LONGEST_DATAGRAM)
            new.content = contents(size)
            new.buffer = bytearray(new.content) if old.buffer is not None else None
            op.buffer = new.content if new.buffer is None else new.buffer
        elif old.buffer is not None:
            new.buffer = op.buffer = bytearray(len(old.buffer))
        else:
            new.content = old.content
        self.put(new)

    def post(self) -> None:
        op = netcore.Post(data=object())
        self.put(Record(op, None))

    def again_too_early(self) -> None:
        """What has not come out cannot be submitted again, done or not."""
        for op in self.pending:
            with pytest.raises(RuntimeError):
                self.selector.submit(op)

    def cancel(self, which: int) -> None:
        records = list(self.pending.values())
        if records:
            record = records[-1 - which % len(records)]
            if self.selector.cancel(record.op):
                record.cancelled = True

    def cancel_all(self, which: int) -> None:
        end = self.end(which)
        if end is not None:
            count = self.selector.cancel_all(end.near)
            assert count <= len(end.pending)
            for record in end.pending if count else ():
                record.cancelled = True

    def watch(self, which: int, mask: int | None) -> None:
        """Register, modify, or unregister."""
        end = self.end(which)
        if end is None or (mask or 0) & ~(self.selector.supports & own_events(end.kind)):
            return
        if mask is None:
            if end.mask is not None:
                self.selector.unregister(end.near)
        elif end.mask is None:
            self.selector.register(end.near, mask, end)
        else:
            self.selector.modify(end.near, mask, end)
        end.mask, end.armed = mask, True
