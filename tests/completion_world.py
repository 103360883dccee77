"""What comes of a random program is compared with the model at once, and at its end."""

from __future__ import annotations

import contextlib
import socket
from time import monotonic
from typing import Any

import pytest
from completion_model import STREAMS, End, Record, is_ready
from completion_steps import Steps
from conformance.tools import SOON

import netcore
from netcore import EDGE, EVENT_READ, EVENT_WRITE, ONESHOT


class World(Steps):
    """A selector and sockets, and what must be true of them."""

    # -- waits

    def wait(self, timeout: float, most: int | None = None, serve: bool = False) -> list[Record]:
        in_use = {end for end in self.ends if end.is_in_use()}
        started = monotonic()
        ready, done = self.selector.wait(timeout, most)
        took = monotonic() - started
        assert ready or done or took >= timeout, "came back early"
        assert most is None or max(len(ready), len(done)) <= most
        self.told = self.tell(ready, in_use)
        records = []
        for op in done:
            assert op in self.pending, f"came out twice, or was not submitted: {op}"
            record = self.pending.pop(op)
            records.append(record)
            record.check_out()
            self.free.append(record)
            if record.end is not None:
                self.after(record)
            name = "ok" if op.error is None else type(op.error).__name__
            if record.end is not None:
                index = self.all_ends.index(record.end)
                self.outcomes.append((index, type(op).__name__, name))
        if serve:
            for record in records[:8]:
                if not op_ended(record) and record.end in self.ends:
                    self.free.remove(record)
                    self.free.append(record)
                    self.again(0, len(record.content))
        return records

    def after(self, record: Record) -> None:
        """A connection that was made is a stream."""
        end, op = record.end, record.op
        assert end is not None
        for sock, client in end.accepted:
            new = End("tcp", sock, client)
            if client.fileno() < 0:
                new.gone = new.ended = new.unclean = new.closed = True
                sock.close()
            else:
                self.ends.append(new)
            self.all_ends.append(new)
        end.accepted.clear()
        if isinstance(op, netcore.Connect):
            self.free.remove(record)
            peer = None
            with contextlib.suppress(BlockingIOError):
                while True:
                    sock, address = self.target.accept()
                    self.connections[address] = sock
            if op.error is None and not end.closed:
                peer = self.connections.pop(end.near.getsockname())
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                end.near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if peer is None:
                if not end.closed:
                    self.shut_down(-1 - self.ends.index(end), False)
            else:
                peer.setblocking(False)
                end.kind, end.peer = "tcp", peer

    def select(self, timeout: float, most: int | None) -> None:
        in_use = {end for end in self.ends if end.is_in_use()}
        started = monotonic()
        rows = self.selector.select(timeout, most)
        took = monotonic() - started
        self.tell(rows, in_use)
        self.again_too_early()
        if not rows and took < timeout:
            assert self.wait(0), "select came back early"

    def tell(self, rows: Any, in_use: set[End]) -> list[tuple[int, int]]:
        """What is ready is registered, and ready."""
        told = []
        for key, events in rows:
            end = key.data
            assert not end.closed, f"closed: {key}"
            assert end.mask is not None, f"not registered: {key}"
            assert events, f"nothing: {key}"
            assert not events & ~end.mask, f"{events} was not asked for: {key}"
            if end.mask & (ONESHOT | EDGE):
                assert end.armed or not end.mask & ONESHOT, f"once more: {key}"
                end.armed = False
            if events & EVENT_READ and end not in in_use:
                assert is_ready(end.near) & EVENT_READ, f"not readable: {key}"
            told.append((self.all_ends.index(end), events & (EVENT_READ | EVENT_WRITE)))
            if end.kind != "connect":
                self.ready.add(told[-1])
        return told

    # -- what must be

    def check(self) -> None:
        for record in self.pending.values():
            record.check_pending()

    def settle(self) -> None:
        """Nothing is left undone that could be done, nor untold."""
        deadline = monotonic() + SOON
        pause = 0.0
        while True:
            done = self.wait(pause)
            told = dict(self.told)
            undone = [r for end in self.all_ends for r in end.could_be_done()]
            undone += [record for record in self.pending.values() if record.end is None]
            untold = [
                end for end in self.ends if end.untold() & ~told.get(self.all_ends.index(end), 0)
            ]
            if not done and not undone and not untold:
                return
            if not done:
                pause = 0.005
                assert monotonic() < deadline, f"could be done: {undone}; be told: {untold}"

    def drain(self, which: int) -> None:
        """The peer receives all there is and will be."""
        end = self.end(which)
        self.settle()
        while end is not None and end.peer_receives(1 << 20):
            self.settle()

    def audit(self) -> None:
        """Everything that was sent arrives, when the peers receive it."""
        for number in range(len(self.ends)):
            self.drain(number)
        for number, end in enumerate(reversed(self.ends)):
            for record in end.pending:
                record.cancelled = True
            self.cancel_all(number)
        self.settle()
        assert not self.pending, f"never came out: {self.pending}"
        for end in self.ends:
            if end.kind in STREAMS and not end.unclean:
                deadline = monotonic() + 2 * SOON
                while end.known and end.out.put != end.out.got:  # Nagle's algorithm takes its time.
                    assert monotonic() < deadline, f"was lost on the way to the peer: {end}"
                    end.peer_receives(1 << 20)
            if end.kind in STREAMS and not end.unclean and end.kind != "writer":
                while len(end.into.got) < len(end.into.put):
                    cls = netcore.Read if end.kind == "reader" else netcore.Recv
                    self.put(Record(cls(end.near, 1 << 20), end))
                    self.until_done(f"was lost on the way here: {end}")
        for end in list(self.ends):
            while end.kind == "listener" and any(c.fileno() >= 0 for c in end.clients.values()):
                self.put(Record(netcore.Accept(end.near), end))
                self.until_done("a client was lost")

    def until_done(self, complaint: str) -> None:
        """Wait until something is done; whatever is ready."""
        deadline = monotonic() + SOON
        while not self.wait(0.1):
            assert monotonic() < deadline, complaint

    def end_early(self) -> None:
        """Close the selector whatever is pending."""
        self.selector.close()
        for record in self.pending.values():
            op = record.op
            assert op.done
            assert op.error is None or isinstance(op.error, OSError), repr(op.error)
            record.check_released()
        self.pending.clear()
        with pytest.raises(RuntimeError):
            self.selector.wait(0)


def op_ended(record: Record) -> bool:
    """Whether there is no point in submitting it once more."""
    return record.op.error is not None or not record.op.value
