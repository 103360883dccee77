"""The types and functions of Windows that netcore uses, as C declarations.

Rules of this file:

* `CDEF` is text for `cffi.FFI.cdef`; whoever makes the first port parses it (some tens of
  milliseconds). Importing it imports nothing.
* Every type has a fixed width (DWORD is `uint32_t`, NTSTATUS `int32_t`, ULONG_PTR `uintptr_t`,
  WCHAR `uint16_t`), so the layouts are Windows' own on any host of the same pointer size, where
  `unsigned long` and `wchar_t` are not.
* `__stdcall` is WINAPI spelt out. It matters in 32-bit processes and is ignored in 64-bit ones.
* Names are the SDK's. tests/test_abi.py compares all of it with the SDK headers.

Sources: the headers named at each group; wepoll.c (piscisaureus/wepoll) and
polling/src/iocp/afd.rs (smol-rs/polling) for AFD, which no public header declares.
"""

from __future__ import annotations

from typing import Final

# The comments at the fields say who writes them, and until when the memory must stay.
CDEF: Final = r"""
typedef int32_t BOOL;               /* 0 is failure; the reason is the thread's last error */
typedef uint8_t BOOLEAN;
typedef uint8_t UCHAR;
typedef uint16_t USHORT;
typedef uint16_t WCHAR;             /* UTF-16-LE code units */
typedef uint32_t ULONG;
typedef uint32_t DWORD;
typedef uint32_t ACCESS_MASK;
typedef int32_t NTSTATUS;           /* negative is failure */
typedef uintptr_t ULONG_PTR;
typedef uintptr_t SOCKET;
typedef void *HANDLE;

/* winternl.h. Both words are the kernel's from the call that starts an operation until its packet
   is dequeued. These are the first two words of OVERLAPPED, so one OVERLAPPED serves as either. */
typedef struct {
    union {
        NTSTATUS Status;            /* caller: STATUS_PENDING before the call; kernel: the result */
        void *Pointer;
    };
    ULONG_PTR Information;          /* kernel: bytes transferred */
} IO_STATUS_BLOCK;

/* minwinbase.h. Must stay, unmoved, until its packet is dequeued or the call that was given it
   failed with anything but ERROR_IO_PENDING (WSAEMSGSIZE is the exception, see _abi.py). */
typedef struct {
    ULONG_PTR Internal;             /* kernel: NTSTATUS, in the low 32 bits: read by ntstatus() */
    ULONG_PTR InternalHigh;         /* kernel: bytes transferred */
    union {
        struct {
            DWORD Offset;           /* caller: file position; 0 for sockets and pipes */
            DWORD OffsetHigh;
        };
        void *Pointer;
    };
    HANDLE hEvent;                  /* caller: NULL; low bit set means no packet */
} OVERLAPPED;

/* minwinbase.h. An array of them is the caller's; the kernel writes the first
   *ulNumEntriesRemoved during GetQueuedCompletionStatusEx and keeps nothing. */
typedef struct {
    ULONG_PTR lpCompletionKey;      /* from CreateIoCompletionPort or PostQueuedCompletionStatus */
    OVERLAPPED *lpOverlapped;       /* of the operation that ended, or what was posted */
    ULONG_PTR Internal;             /* reserved: the status is in lpOverlapped->Internal */
    DWORD dwNumberOfBytesTransferred;
} OVERLAPPED_ENTRY;

/* winternl.h. Read during the call only. */
typedef struct {
    USHORT Length;                  /* caller: bytes, without a terminator */
    USHORT MaximumLength;           /* caller: bytes */
    WCHAR *Buffer;                  /* caller */
} UNICODE_STRING;

/* winternl.h. Read during the call only, all of it the caller's. */
typedef struct {
    ULONG Length;                   /* sizeof(OBJECT_ATTRIBUTES) */
    HANDLE RootDirectory;
    UNICODE_STRING *ObjectName;
    ULONG Attributes;
    void *SecurityDescriptor;
    void *SecurityQualityOfService;
} OBJECT_ATTRIBUTES;

/* wepoll.c, polling afd.rs. Used as input and output at once. The input is read during the call;
   the output is the kernel's until the packet is dequeued, and is not written when cancelled. */
typedef struct {
    HANDLE Handle;                  /* caller: base handle of the socket; kernel: of a ready one */
    ULONG Events;                   /* caller: AFD_POLL_* wanted; kernel: those that hold */
    NTSTATUS Status;                /* caller: 0; kernel: why CONNECT_FAIL */
} AFD_POLL_HANDLE_INFO;
typedef struct {
    int64_t Timeout;                /* caller: AFD_POLL_INFINITE, or 100 ns, negative: from now */
    ULONG NumberOfHandles;          /* caller: 1; kernel: how many are ready, 0 on a time-out */
    ULONG Exclusive;                /* caller: 0; 1 ends other exclusive polls of the socket */
    AFD_POLL_HANDLE_INFO Handles[1];
} AFD_POLL_INFO;

/* ws2def.h. The array of WSABUF is copied during the call; the memory at buf is read (send) or
   written (receive) by the kernel until the packet is dequeued. */
typedef struct {
    ULONG len;                      /* caller: bytes */
    void *buf;                      /* caller: CHAR * in the SDK */
} WSABUF;

/* ws2def.h, ws2ipdef.h. All in network order but the family. A send copies its address during the
   call. For WSARecvFrom address and length are the kernel's until the packet is dequeued. */
typedef struct {
    USHORT sin_family;
    USHORT sin_port;
    uint8_t sin_addr[4];
    uint8_t sin_zero[8];            /* caller: 0 */
} SOCKADDR_IN;
typedef struct {
    USHORT sin6_family;
    USHORT sin6_port;
    ULONG sin6_flowinfo;
    uint8_t sin6_addr[16];
    ULONG sin6_scope_id;            /* host order */
} SOCKADDR_IN6;
typedef struct {
    USHORT ss_family;
    uint8_t __ss_pad1[6];
    int64_t __ss_align;
    uint8_t __ss_pad2[112];
} SOCKADDR_STORAGE;

/* mstcpip.h. Read during the call only. */
typedef struct {
    USHORT Rtt;                     /* milliseconds */
    UCHAR MaxSynRetransmissions;
} TCP_INITIAL_RTO_PARAMETERS;

/* mswsock.h. Head and Tail are read until the packet is dequeued. */
typedef struct {
    void *Head;
    DWORD HeadLength;
    void *Tail;
    DWORD TailLength;
} TRANSMIT_FILE_BUFFERS;

/* kernel32: ports and handles (ioapiset.h, handleapi.h, winbase.h) */
HANDLE __stdcall CreateIoCompletionPort(HANDLE FileHandle, HANDLE ExistingCompletionPort,
    ULONG_PTR CompletionKey, DWORD NumberOfConcurrentThreads);
BOOL __stdcall GetQueuedCompletionStatusEx(HANDLE CompletionPort,
    OVERLAPPED_ENTRY *lpCompletionPortEntries, ULONG ulCount, ULONG *ulNumEntriesRemoved,
    DWORD dwMilliseconds, BOOL fAlertable);
BOOL __stdcall PostQueuedCompletionStatus(HANDLE CompletionPort,
    DWORD dwNumberOfBytesTransferred, ULONG_PTR dwCompletionKey, OVERLAPPED *lpOverlapped);
BOOL __stdcall SetFileCompletionNotificationModes(HANDLE FileHandle, UCHAR Flags);
BOOL __stdcall CancelIoEx(HANDLE hFile, OVERLAPPED *lpOverlapped);
BOOL __stdcall GetOverlappedResult(HANDLE hFile, OVERLAPPED *lpOverlapped,
    DWORD *lpNumberOfBytesTransferred, BOOL bWait);
BOOL __stdcall CloseHandle(HANDLE hObject);
DWORD __stdcall GetLastError(void);     /* of the last call by cffi: that keeps it */

/* kernel32: files and named pipes (fileapi.h, namedpipeapi.h). The byte counters of ReadFile and
   WriteFile may be NULL, and should be, with an OVERLAPPED. */
HANDLE __stdcall CreateFileW(const WCHAR *lpFileName, DWORD dwDesiredAccess, DWORD dwShareMode,
    void *lpSecurityAttributes, DWORD dwCreationDisposition, DWORD dwFlagsAndAttributes,
    HANDLE hTemplateFile);
BOOL __stdcall ReadFile(HANDLE hFile, void *lpBuffer, DWORD nNumberOfBytesToRead,
    DWORD *lpNumberOfBytesRead, OVERLAPPED *lpOverlapped);
BOOL __stdcall WriteFile(HANDLE hFile, const void *lpBuffer, DWORD nNumberOfBytesToWrite,
    DWORD *lpNumberOfBytesWritten, OVERLAPPED *lpOverlapped);
HANDLE __stdcall CreateNamedPipeW(const WCHAR *lpName, DWORD dwOpenMode, DWORD dwPipeMode,
    DWORD nMaxInstances, DWORD nOutBufferSize, DWORD nInBufferSize, DWORD nDefaultTimeOut,
    void *lpSecurityAttributes);
BOOL __stdcall ConnectNamedPipe(HANDLE hNamedPipe, OVERLAPPED *lpOverlapped);
BOOL __stdcall WaitNamedPipeW(const WCHAR *lpNamedPipeName, DWORD nTimeOut);

/* kernel32: waiting on objects (synchapi.h) */
HANDLE __stdcall CreateEventW(void *lpEventAttributes, BOOL bManualReset, BOOL bInitialState,
    const WCHAR *lpName);
BOOL __stdcall SetEvent(HANDLE hEvent);
BOOL __stdcall ResetEvent(HANDLE hEvent);
DWORD __stdcall WaitForSingleObject(HANDLE hHandle, DWORD dwMilliseconds);
DWORD __stdcall WaitForMultipleObjects(DWORD nCount, const HANDLE *lpHandles, BOOL bWaitAll,
    DWORD dwMilliseconds);

/* ntdll (winternl.h, ntifs.h). ApcContext comes back as lpOverlapped; NULL means no packet.
   The IO_STATUS_BLOCK of NtCreateFile is written during the call only. */
NTSTATUS __stdcall NtCreateFile(HANDLE *FileHandle, ACCESS_MASK DesiredAccess,
    OBJECT_ATTRIBUTES *ObjectAttributes, IO_STATUS_BLOCK *IoStatusBlock, int64_t *AllocationSize,
    ULONG FileAttributes, ULONG ShareAccess, ULONG CreateDisposition, ULONG CreateOptions,
    void *EaBuffer, ULONG EaLength);
NTSTATUS __stdcall NtDeviceIoControlFile(HANDLE FileHandle, HANDLE Event, void *ApcRoutine,
    void *ApcContext, IO_STATUS_BLOCK *IoStatusBlock, ULONG IoControlCode, void *InputBuffer,
    ULONG InputBufferLength, void *OutputBuffer, ULONG OutputBufferLength);
NTSTATUS __stdcall NtCancelIoFileEx(HANDLE FileHandle, IO_STATUS_BLOCK *IoRequestToCancel,
    IO_STATUS_BLOCK *IoStatusBlock);
NTSTATUS __stdcall NtQueryInformationFile(HANDLE FileHandle, IO_STATUS_BLOCK *IoStatusBlock,
    void *FileInformation, ULONG Length, ULONG FileInformationClass);   /* an enum in the SDK */
ULONG __stdcall RtlNtStatusToDosError(NTSTATUS Status);

/* ntdll, Windows 8 and later, absent from Wine 10: ask with hasattr. Declared by no SDK header;
   learn.microsoft.com, "NtAssociateWaitCompletionPacket function". The packet's IoStatus arrives
   in OVERLAPPED_ENTRY.Internal, and KeyContext and ApcContext as key and lpOverlapped: both are
   plain words, nothing is written through them. Cancelling answers STATUS_PENDING when the packet
   is on its way and RemoveSignaledPacket is 0. */
NTSTATUS __stdcall NtCreateWaitCompletionPacket(HANDLE *WaitCompletionPacketHandle,
    ACCESS_MASK DesiredAccess, OBJECT_ATTRIBUTES *ObjectAttributes);
NTSTATUS __stdcall NtAssociateWaitCompletionPacket(HANDLE WaitCompletionPacketHandle,
    HANDLE IoCompletionHandle, HANDLE TargetObjectHandle, void *KeyContext, void *ApcContext,
    NTSTATUS IoStatus, ULONG_PTR IoStatusInformation, BOOLEAN *AlreadySignaled);
NTSTATUS __stdcall NtCancelWaitCompletionPacket(HANDLE WaitCompletionPacketHandle,
    BOOLEAN RemoveSignaledPacket);

/* ws2_32 (winsock2.h). Failure is SOCKET_ERROR, the reason the thread's last error. The flags of
   WSARecv and WSARecvFrom are input during the call and, for an overlapped one, output of
   WSAGetOverlappedResult, not of the pointer given here. */
int __stdcall WSAIoctl(SOCKET s, DWORD dwIoControlCode, void *lpvInBuffer, DWORD cbInBuffer,
    void *lpvOutBuffer, DWORD cbOutBuffer, DWORD *lpcbBytesReturned, OVERLAPPED *lpOverlapped,
    void *lpCompletionRoutine);
int __stdcall WSARecv(SOCKET s, WSABUF *lpBuffers, DWORD dwBufferCount,
    DWORD *lpNumberOfBytesRecvd, DWORD *lpFlags, OVERLAPPED *lpOverlapped,
    void *lpCompletionRoutine);
int __stdcall WSASend(SOCKET s, WSABUF *lpBuffers, DWORD dwBufferCount,
    DWORD *lpNumberOfBytesSent, DWORD dwFlags, OVERLAPPED *lpOverlapped,
    void *lpCompletionRoutine);
int __stdcall WSARecvFrom(SOCKET s, WSABUF *lpBuffers, DWORD dwBufferCount,
    DWORD *lpNumberOfBytesRecvd, DWORD *lpFlags, void *lpFrom, int *lpFromlen,
    OVERLAPPED *lpOverlapped, void *lpCompletionRoutine);
int __stdcall WSASendTo(SOCKET s, WSABUF *lpBuffers, DWORD dwBufferCount,
    DWORD *lpNumberOfBytesSent, DWORD dwFlags, const void *lpTo, int iTolen,
    OVERLAPPED *lpOverlapped, void *lpCompletionRoutine);
BOOL __stdcall WSAGetOverlappedResult(SOCKET s, OVERLAPPED *lpOverlapped, DWORD *lpcbTransfer,
    BOOL fWait, DWORD *lpdwFlags);
int __stdcall bind(SOCKET s, const void *name, int namelen);
int __stdcall getsockname(SOCKET s, void *name, int *namelen);
int __stdcall getsockopt(SOCKET s, int level, int optname, void *optval, int *optlen);
int __stdcall setsockopt(SOCKET s, int level, int optname, const void *optval, int optlen);

/* mswsock.h: asked of the socket's provider by SIO_GET_EXTENSION_FUNCTION_POINTER and WSAID_*.
   lpOutputBuffer is the kernel's until the packet; each address in it needs sizeof + 16 bytes. */
typedef BOOL (__stdcall *LPFN_ACCEPTEX)(SOCKET sListenSocket, SOCKET sAcceptSocket,
    void *lpOutputBuffer, DWORD dwReceiveDataLength, DWORD dwLocalAddressLength,
    DWORD dwRemoteAddressLength, DWORD *lpdwBytesReceived, OVERLAPPED *lpOverlapped);
typedef void (__stdcall *LPFN_GETACCEPTEXSOCKADDRS)(void *lpOutputBuffer,
    DWORD dwReceiveDataLength, DWORD dwLocalAddressLength, DWORD dwRemoteAddressLength,
    void **LocalSockaddr, int *LocalSockaddrLength, void **RemoteSockaddr,
    int *RemoteSockaddrLength);
typedef BOOL (__stdcall *LPFN_CONNECTEX)(SOCKET s, const void *name, int namelen,
    void *lpSendBuffer, DWORD dwSendDataLength, DWORD *lpdwBytesSent, OVERLAPPED *lpOverlapped);
typedef BOOL (__stdcall *LPFN_TRANSMITFILE)(SOCKET hSocket, HANDLE hFile,
    DWORD nNumberOfBytesToWrite, DWORD nNumberOfBytesPerSend, OVERLAPPED *lpOverlapped,
    TRANSMIT_FILE_BUFFERS *lpTransmitBuffers, DWORD dwReserved);
"""
