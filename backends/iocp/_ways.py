"""Which operation is carried out in which way."""

from __future__ import annotations

from typing import Final

from netcore import operations
from netcore.backends.iocp import _calls, _connections, _pipes, _transfer, _waits
from netcore.backends.iocp._attachment import Attachment, Attachments
from netcore.backends.iocp._extensions import Extensions
from netcore.backends.iocp._overlapped import Flight, Flights, Way
from netcore.backends.iocp._port import CompletionPort
from netcore.backends.iocp._winsock import Windows
from netcore.operations import Operation

#: What there is a way for.
CARRIED_OUT: Final[frozenset[type[Operation]]] = frozenset(
    (
        *(operations.Recv, operations.RecvInto, operations.RecvFrom, operations.RecvFromInto),
        *(operations.Send, operations.SendAll, operations.SendTo, operations.SendFile),
        *(operations.Accept, operations.Connect, operations.Read, operations.Write),
        *(operations.AcceptPipe, operations.ConnectPipe),
        *(operations.WaitHandle, operations.Overlapped),
    )
)


class Ways:
    """Finds the way of an operation, and starts it."""

    def __init__(self, windows: Windows, port: CompletionPort) -> None:
        self.flights = flights = Flights(windows, port)
        self._attachments = attachments = Attachments(windows, port)
        extensions = Extensions(windows)
        waits = _waits.best_waits(flights)
        self.pipes = _pipes.ConnectPipe(flights)
        self._ways: dict[type[Operation], Way] = {
            operations.Recv: _transfer.Receive(flights),
            operations.RecvInto: _transfer.ReceiveInto(flights),
            operations.RecvFrom: _transfer.ReceiveFrom(flights),
            operations.RecvFromInto: _transfer.ReceiveFromInto(flights),
            operations.Send: _transfer.Send(flights, everything=False),
            operations.SendAll: _transfer.Send(flights, everything=True),
            operations.SendTo: _transfer.SendTo(flights),
            operations.SendFile: _transfer.SendFile(flights, extensions),
            operations.Accept: _connections.Accept(flights, extensions),
            operations.Connect: _connections.Connect(flights, extensions),
            operations.Read: _pipes.Read(flights, attachments),
            operations.Write: _pipes.Write(flights, attachments),
            operations.AcceptPipe: _pipes.AcceptPipe(flights, attachments),
            operations.ConnectPipe: self.pipes,
            operations.WaitHandle: _waits.WaitHandle(flights, waits),
            operations.Overlapped: _calls.Overlapped(flights, attachments, waits),
        }

    def takes(self, operation: Operation) -> bool:
        """Whether it can be carried out; associates its socket with the port."""
        flight = operation.native
        if flight.__class__ is Flight and flight.flights is self.flights and flight.attachment:
            return True  # It was: an operation forgets that with its socket.
        way = self._way_of(type(operation))
        if way is None or not way.takes(operation):
            return False
        attachment = self._attachment_of(operation)
        return attachment is None or attachment.native

    def submit(self, operation: Operation) -> None:
        """Raises TypeError for what was not taken, OSError for what cannot be started."""
        flight = operation.native
        if flight.__class__ is Flight and flight.flights is self.flights and flight.attachment:
            self.flights.submit(operation, flight.way, flight.attachment)
            return
        way = self._way_of(type(operation))
        if way is None:
            raise TypeError(f"not an operation of this backend: {operation!r}")
        self.flights.submit(operation, way, self._attachment_of(operation))

    def _attachment_of(self, operation: Operation) -> Attachment | None:
        if not operation.on_socket:
            return None
        with self.flights.lock:
            return self._attachments.of(operation.subject, operation.fd)

    def _way_of(self, kind: type[Operation]) -> Way | None:
        """Also of a subclass."""
        if kind not in self._ways:
            ways = [self._ways[cls] for cls in kind.__mro__ if cls in self._ways]
            if not ways:
                return None
            self._ways[kind] = ways[0]
        return self._ways[kind]
