"""What can be asked of a selector to be done, as data; ``Selector.submit`` is who starts it.

Between ``submit`` and the ``wait`` that hands it out an operation, and the buffer in it, belong to
netcore. Then it can be submitted again: a server needs no new object per message.

Sockets must be non-blocking. Addresses are those of the socket module, with the host as a number:
names are not looked up, because that blocks.
"""

from __future__ import annotations

from netcore._connection_operations import Accept as Accept
from netcore._connection_operations import Connect as Connect
from netcore._connection_operations import SendFile as SendFile
from netcore._descriptor_operations import AcceptPipe as AcceptPipe
from netcore._descriptor_operations import ConnectPipe as ConnectPipe
from netcore._descriptor_operations import Overlapped as Overlapped
from netcore._descriptor_operations import Poll as Poll
from netcore._descriptor_operations import Read as Read
from netcore._descriptor_operations import WaitHandle as WaitHandle
from netcore._descriptor_operations import Write as Write
from netcore._operation import NEITHER as NEITHER
from netcore._operation import NEVER as NEVER
from netcore._operation import NOWHERE as NOWHERE
from netcore._operation import READING as READING
from netcore._operation import WRITING as WRITING
from netcore._operation import Batch as Batch
from netcore._operation import Operation as Operation
from netcore._operation import OperationCancelled as OperationCancelled
from netcore._operation import closed_meanwhile as closed_meanwhile
from netcore._socket_operations import Recv as Recv
from netcore._socket_operations import RecvFrom as RecvFrom
from netcore._socket_operations import RecvFromInto as RecvFromInto
from netcore._socket_operations import RecvInto as RecvInto
from netcore._socket_operations import Send as Send
from netcore._socket_operations import SendAll as SendAll
from netcore._socket_operations import SendTo as SendTo


class Post(Operation):
    """Done at once: ``data`` comes out of ``wait``, and is the result."""

    __slots__ = ()

    def _prepare(self) -> None:
        self.value = self.data
