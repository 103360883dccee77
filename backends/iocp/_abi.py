"""The constants and GUIDs of Windows that netcore uses.

Names are the SDK's. tests/test_abi.py compares them with the SDK headers, which are named at each
group.
"""

from __future__ import annotations

from struct import pack
from typing import Final


def ntstatus(word: int) -> int:
    """The NTSTATUS in the low 32 bits of `word`, signed as NTSTATUS is: negative is failure."""
    return ((word & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


def _guid(text: str) -> bytes:
    """The 16 bytes of a GUID as Windows lays it out: three little-endian numbers, eight bytes."""
    first, second, third, *rest = text.split("-")
    numbers = pack("<IHH", int(first, 16), int(second, 16), int(third, 16))
    return numbers + bytes.fromhex("".join(rest))


# AFD (piscisaureus/wepoll, wepoll.c; smol-rs/polling, src/iocp/afd.rs), which no public header
# declares. The last part of the device name is free but must exist.
AFD_DEVICE_NAME: Final = "\\Device\\Afd\\netcore"
IOCTL_AFD_POLL: Final = 0x00012024
AFD_POLL_INFINITE: Final = (1 << 63) - 1  # AFD_POLL_INFO.Timeout
AFD_POLL_RECEIVE: Final = 0x0001  # data, not FIN: ask for DISCONNECT too
AFD_POLL_RECEIVE_EXPEDITED: Final = 0x0002  # out-of-band data
AFD_POLL_SEND: Final = 0x0004
AFD_POLL_DISCONNECT: Final = 0x0008  # FIN
AFD_POLL_ABORT: Final = 0x0010  # RST
AFD_POLL_LOCAL_CLOSE: Final = 0x0020  # the last handle of the socket was closed; may come unasked
AFD_POLL_CONNECT: Final = 0x0040  # holds for ever once connected: never ask for it
AFD_POLL_ACCEPT: Final = 0x0080  # a connection to accept; RECEIVE is not set then
AFD_POLL_CONNECT_FAIL: Final = 0x0100  # Status of the handle says why

# ntstatus.h
STATUS_SUCCESS: Final = 0  # of NtDeviceIoControlFile: done already, and a packet comes all the same
STATUS_TIMEOUT: Final = 0x00000102
STATUS_PENDING: Final = 0x00000103  # a packet will come
STATUS_BUFFER_OVERFLOW: Final = ntstatus(0x80000005)  # a datagram was cut; the data is there
STATUS_HANDLES_CLOSED: Final = ntstatus(0x8000000A)  # Wine: cancelled, its handle was closed
STATUS_INVALID_HANDLE: Final = ntstatus(0xC0000008)
STATUS_INVALID_PARAMETER: Final = ntstatus(0xC000000D)
STATUS_END_OF_FILE: Final = ntstatus(0xC0000011)
STATUS_OBJECT_TYPE_MISMATCH: Final = ntstatus(0xC0000024)  # a handle, but not of a socket
STATUS_PIPE_BROKEN: Final = ntstatus(0xC000014B)
STATUS_CANCELLED: Final = ntstatus(0xC0000120)
STATUS_NOT_FOUND: Final = ntstatus(0xC0000225)  # nothing to cancel: the packet is queued already

# winerror.h
ERROR_INVALID_HANDLE: Final = 6
ERROR_HANDLE_EOF: Final = 38
ERROR_NETNAME_DELETED: Final = 64  # the connection is gone; AcceptEx: the client is
ERROR_INVALID_PARAMETER: Final = 87  # of CreateIoCompletionPort: not overlapped, or has a port
ERROR_BROKEN_PIPE: Final = 109  # the other end of a pipe was closed: end of file
ERROR_SEM_TIMEOUT: Final = 121  # of a connection: nobody has answered
ERROR_PIPE_BUSY: Final = 231  # every instance of the pipe is taken: wait, try again
ERROR_NO_DATA: Final = 232  # of ConnectNamedPipe: the client came and left
ERROR_PIPE_NOT_CONNECTED: Final = 233  # the other end was disconnected
ERROR_MORE_DATA: Final = 234  # success, and the rest of the message is still there
WAIT_TIMEOUT: Final = 258  # of GetQueuedCompletionStatusEx: no packet
ERROR_PIPE_CONNECTED: Final = 535  # of ConnectNamedPipe: connected already, no packet
ERROR_HANDLES_CLOSED: Final = 676  # STATUS_HANDLES_CLOSED: Wine's word for OPERATION_ABORTED
ERROR_ABANDONED_WAIT_0: Final = 735  # the port was closed under a waiting thread
ERROR_OPERATION_ABORTED: Final = 995  # cancelled
ERROR_IO_INCOMPLETE: Final = 996  # asked for the result before the end
ERROR_IO_PENDING: Final = 997  # accepted: a packet will come
ERROR_NOT_FOUND: Final = 1168  # of CancelIoEx: nothing to cancel, the packet is queued already
ERROR_CONNECTION_REFUSED: Final = 1225
ERROR_NETWORK_UNREACHABLE: Final = 1231
ERROR_HOST_UNREACHABLE: Final = 1232
ERROR_PORT_UNREACHABLE: Final = 1234  # ICMP, reported by a later receive
ERROR_CONNECTION_ABORTED: Final = 1236
WSAEINVAL: Final = 10022  # of ConnectEx and WSARecvFrom: the socket is not bound
WSAEWOULDBLOCK: Final = 10035
WSAENOTSOCK: Final = 10038
WSAEMSGSIZE: Final = 10040  # a datagram was cut; even when the call says so, a packet may follow
WSAEOPNOTSUPP: Final = 10045
WSAECONNABORTED: Final = 10053
WSAECONNRESET: Final = 10054
WSAEISCONN: Final = 10056
WSAENOTCONN: Final = 10057
WSAESHUTDOWN: Final = 10058
WSAECONNREFUSED: Final = 10061

# winbase.h, winnt.h, winternl.h
INFINITE: Final = 0xFFFFFFFF  # milliseconds; the longest finite wait is one less
INVALID_HANDLE_VALUE: Final = -1
WAIT_OBJECT_0: Final = 0
WAIT_ABANDONED: Final = 0x80  # a mutex whose owner ended
WAIT_FAILED: Final = 0xFFFFFFFF
MAXIMUM_WAIT_OBJECTS: Final = 64  # of WaitForMultipleObjects
FILE_SKIP_COMPLETION_PORT_ON_SUCCESS: Final = 1  # no packet on immediate success; irrevocable
FILE_SKIP_SET_EVENT_ON_HANDLE: Final = 2  # the file object itself is not signalled
FileModeInformation: Final = 16  # of NtQueryInformationFile: a ULONG of FILE_SYNCHRONOUS_* etc.
FILE_SYNCHRONOUS_IO_ALERT: Final = 0x10
FILE_SYNCHRONOUS_IO_NONALERT: Final = 0x20  # what CreateFile opens without FILE_FLAG_OVERLAPPED
SYNCHRONIZE: Final = 0x00100000
GENERIC_READ: Final = 0x80000000
GENERIC_WRITE: Final = 0x40000000
GENERIC_ALL: Final = 0x10000000  # access to a wait completion packet
FILE_SHARE_READ: Final = 1
FILE_SHARE_WRITE: Final = 2
FILE_OPEN: Final = 1  # NtCreateFile: open what exists
OPEN_EXISTING: Final = 3  # CreateFileW: open what exists
FILE_FLAG_OVERLAPPED: Final = 0x40000000
FILE_FLAG_FIRST_PIPE_INSTANCE: Final = 0x00080000  # refused if the name is taken; not by Wine
PIPE_ACCESS_DUPLEX: Final = 3
PIPE_TYPE_BYTE: Final = 0
PIPE_REJECT_REMOTE_CLIENTS: Final = 8
PIPE_UNLIMITED_INSTANCES: Final = 255

# winsock2.h, ws2def.h, mswsock.h
SOCKET_ERROR: Final = -1
INVALID_SOCKET: Final = -1  # SOCKET is unsigned: compare with cast("SOCKET", -1)
AF_INET: Final = 2
AF_INET6: Final = 23
SOL_SOCKET: Final = 0xFFFF
SO_ERROR: Final = 0x1007
SO_TYPE: Final = 0x1008
SO_ACCEPTCONN: Final = 0x0002  # the socket is listening
SO_UPDATE_ACCEPT_CONTEXT: Final = 0x700B  # value: the listener; else getpeername and so on fail
SO_UPDATE_CONNECT_CONTEXT: Final = 0x7010  # no value; else getpeername and so on fail
SIO_BASE_HANDLE: Final = 0x48000022  # the socket below all layered providers
SIO_BSP_HANDLE_POLL: Final = 0x4800001D  # the socket below one layered provider, to be polled
SIO_GET_EXTENSION_FUNCTION_POINTER: Final = 0xC8000006
SIO_UDP_CONNRESET: Final = 0x9800000C  # BOOL FALSE: ICMP does not fail a later receive
SIO_TCP_INITIAL_RTO: Final = 0x98000011  # TCP_INITIAL_RTO_PARAMETERS; Windows 10
TCP_INITIAL_RTO_NO_SYN_RETRANSMISSIONS: Final = 254  # in both fields (libuv, win/tcp.c)
WSAID_ACCEPTEX: Final = _guid("b5367df1-cbac-11cf-95ca-00805f48a192")
WSAID_GETACCEPTEXSOCKADDRS: Final = _guid("b5367df2-cbac-11cf-95ca-00805f48a192")
WSAID_CONNECTEX: Final = _guid("25a207b9-ddf3-4660-8ee9-76e58c74063e")
WSAID_TRANSMITFILE: Final = _guid("b5367df0-cbac-11cf-95ca-00805f48a192")
