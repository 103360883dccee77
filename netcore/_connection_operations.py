"""Making connections, and sending files on them."""

from __future__ import annotations

import os
import socket
import stat
from operator import index
from typing import TYPE_CHECKING, Any

from netcore._arguments import check_address, open_number
from netcore._operation import READING, WRITING
from netcore._socket_operations import OnSocket
from netcore._sockets import is_stream

if TYPE_CHECKING:
    from netcore._socket_operations import Address


class Accept(OnSocket):
    """Accept a connection. The result is (socket, address); the socket is non-blocking and not
    inherited by other programs. A connection that failed before it was accepted is passed over.
    """

    __slots__ = ()
    direction = READING


class Connect(OnSocket):
    """Connect to ``address``. The result is None."""

    __slots__ = ("address", "started")
    direction = WRITING

    def __init__(
        self,
        sock: socket.socket,
        address: Address,
        *,
        data: Any = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(sock, data=data, timeout=timeout)
        self.address = address
        self.started = False

    def _prepare(self) -> None:
        check_address(self.sock, self.address)
        super()._prepare()
        self.started = False


class SendFile(OnSocket):
    """Send ``count`` bytes of ``file`` from ``offset`` on, or all up to its end for None.

    ``file`` is a regular file opened for reading in binary. The result is the number of bytes,
    which is less than ``count`` if the file ends before. Its position is neither used nor kept.
    ``bytes_sent`` tells as it does with SendAll.
    """

    __slots__ = ("_sent", "count", "file", "offset")
    direction = WRITING

    def __init__(
        self,
        sock: socket.socket,
        file: Any,
        offset: int = 0,
        count: int | None = None,
        *,
        data: Any = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(sock, data=data, timeout=timeout)
        self.file, self.offset, self.count = file, offset, count
        self._sent = 0

    @property
    def bytes_sent(self) -> int:
        """What was sent so far, also when it fails or is cancelled."""
        return self._sent

    def _prepare(self) -> None:
        if index(self.offset) < 0 or (self.count is not None and index(self.count) < 0):
            raise ValueError(f"offset and count must not be negative: {self!r}")
        if not is_stream(self.sock):
            raise ValueError(f"a file can be sent on a stream only: {self.sock!r}")
        if not stat.S_ISREG(os.fstat(open_number(self.file)).st_mode):
            raise ValueError(f"not a regular file: {self.file!r}")
        super()._prepare()
        self._sent = 0

    def _length(self) -> int:
        """How many bytes there are to send, now."""
        size = max(os.fstat(open_number(self.file)).st_size - self.offset, 0)
        return size if self.count is None else min(self.count, size)
