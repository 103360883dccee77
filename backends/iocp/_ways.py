"""Which operation is carried out in which way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from netcore import operations
from netcore.backends.iocp import _calls, _connections, _pipes, _receiving, _sending, _waits
from netcore.backends.iocp._attachment import Attachment, Attachments
from netcore.backends.iocp._extensions import Extensions
from netcore.backends.iocp._flight import Flight, Way
from netcore.backends.iocp._flights import Flights
from netcore.backends.iocp._port import CompletionPort
from netcore.backends.iocp._winsock import Windows
from netcore.operations import Operation


class Ways:
    """Finds the way of an operation, and starts it."""

    def __init__(self, windows: Windows, port: CompletionPort) -> None:
        self.flights = Flights(windows, port)
        self.attachments = Attachments(windows, port)
        self.extensions = Extensions(windows)
        self.waits = _waits.best_waits(self.flights)
        self.pipes = _pipes.ConnectPipe(self.flights)
        self._ways = {kind: make(self) for kind, make in _MAKERS.items()}

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
            return self.attachments.of(operation.subject, operation.fd)

    def _way_of(self, kind: type[Operation]) -> Way | None:
        """Also of a subclass."""
        if kind not in self._ways:
            ways = [self._ways[cls] for cls in kind.__mro__ if cls in self._ways]
            if not ways:
                return None
            self._ways[kind] = ways[0]
        return self._ways[kind]


_MAKERS: Final[dict[type[Operation], Callable[[Ways], Way]]] = {
    operations.Recv: lambda ways: _receiving.Receive(ways.flights),
    operations.RecvInto: lambda ways: _receiving.ReceiveInto(ways.flights),
    operations.RecvFrom: lambda ways: _receiving.ReceiveFrom(ways.flights),
    operations.RecvFromInto: lambda ways: _receiving.ReceiveFromInto(ways.flights),
    operations.Send: lambda ways: _sending.Send(ways.flights, everything=False),
    operations.SendAll: lambda ways: _sending.Send(ways.flights, everything=True),
    operations.SendTo: lambda ways: _sending.SendTo(ways.flights),
    operations.SendFile: lambda ways: _sending.SendFile(ways.flights, ways.extensions),
    operations.Accept: lambda ways: _connections.Accept(ways.flights, ways.extensions),
    operations.Connect: lambda ways: _connections.Connect(ways.flights, ways.extensions),
    operations.Read: lambda ways: _pipes.Read(ways.flights, ways.attachments),
    operations.Write: lambda ways: _pipes.Write(ways.flights, ways.attachments),
    operations.AcceptPipe: lambda ways: _pipes.AcceptPipe(ways.flights, ways.attachments),
    operations.ConnectPipe: lambda ways: ways.pipes,
    operations.WaitHandle: lambda ways: _waits.WaitHandle(ways.flights, ways.waits),
    operations.Overlapped: lambda ways: _calls.Overlapped(
        ways.flights, ways.attachments, ways.waits
    ),
}

#: What there is a way for.
CARRIED_OUT: Final = frozenset(_MAKERS)
