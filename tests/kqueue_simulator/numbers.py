"""The numbers of kqueue, and how macOS and FreeBSD differ.

`EXPORTED` holds exactly the names that CPython's `select` has on both systems. The rest has no
name there and is passed as a plain integer (CPython `Modules/selectmodule.c`, `_select_exec`).
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

EVFILT_READ = -1
EVFILT_WRITE = -2

EV_ADD = 0x0001
EV_DELETE = 0x0002
EV_ENABLE = 0x0004
EV_DISABLE = 0x0008
EV_ONESHOT = 0x0010
EV_CLEAR = 0x0020
EV_RECEIPT = 0x0040
EV_DISPATCH = 0x0080
EV_SYSFLAGS = 0xF000
EV_ERROR = 0x4000
EV_EOF = 0x8000

NOTE_LOWAT = 0x00000001
NOTE_OOB = 0x00000002
NOTE_TRIGGER = 0x01000000
NOTE_FFCTRLMASK = 0xC0000000
NOTE_FFAND = 0x40000000
NOTE_FFOR = 0x80000000
NOTE_FFCOPY = 0xC0000000
NOTE_FFLAGSMASK = 0x00FFFFFF

EXPORTED = {
    "KQ_FILTER_READ": EVFILT_READ,
    "KQ_FILTER_WRITE": EVFILT_WRITE,
    "KQ_FILTER_AIO": -3,
    "KQ_FILTER_VNODE": -4,
    "KQ_FILTER_PROC": -5,
    "KQ_FILTER_SIGNAL": -6,
    "KQ_FILTER_TIMER": -7,
    "KQ_EV_ADD": EV_ADD,
    "KQ_EV_DELETE": EV_DELETE,
    "KQ_EV_ENABLE": EV_ENABLE,
    "KQ_EV_DISABLE": EV_DISABLE,
    "KQ_EV_ONESHOT": EV_ONESHOT,
    "KQ_EV_CLEAR": EV_CLEAR,
    "KQ_EV_SYSFLAGS": EV_SYSFLAGS,
    "KQ_EV_FLAG1": 0x2000,
    "KQ_EV_EOF": EV_EOF,
    "KQ_EV_ERROR": EV_ERROR,
    "KQ_NOTE_LOWAT": NOTE_LOWAT,
    "KQ_NOTE_DELETE": 0x00000001,
    "KQ_NOTE_WRITE": 0x00000002,
    "KQ_NOTE_EXTEND": 0x00000004,
    "KQ_NOTE_ATTRIB": 0x00000008,
    "KQ_NOTE_LINK": 0x00000010,
    "KQ_NOTE_RENAME": 0x00000020,
    "KQ_NOTE_REVOKE": 0x00000040,
    "KQ_NOTE_EXIT": 0x80000000,
    "KQ_NOTE_FORK": 0x40000000,
    "KQ_NOTE_EXEC": 0x20000000,
    "KQ_NOTE_PDATAMASK": 0x000FFFFF,
    "KQ_NOTE_TRACK": 0x00000001,
    "KQ_NOTE_TRACKERR": 0x00000002,
    "KQ_NOTE_CHILD": 0x00000004,
}


@dataclass(frozen=True)
class Flavour:
    """One system's answers where the two differ. Sources: XNU 11417 and FreeBSD kernel sources."""

    name: str
    exported: dict[str, int]  # names whose value differs
    user_filter: int
    except_filter: int | None
    filter_count: int  # EVFILT_SYSCOUNT: filters beyond it are EINVAL
    refused_filters: dict[int, int]  # filters that user space may not add, with the errno
    looks_up_fd_first: bool  # a closed fd is EBADF for every change, else ENOENT for all but ADD
    error_keeps_flags: bool  # an EV_ERROR entry shows the change's own flags as well
    hidden_flags: int  # flags of the change that an event does not show
    receipt_needs_room: bool  # a receipt with nowhere to go ends the changelist, without error
    full_buffer_caps_lowat: bool  # NOTE_LOWAT beyond the buffer size means the buffer size
    oneshot_is_not_rechecked: bool  # delivered as it was when it fired, even if drained since
    clear_resets_trigger: bool  # EV_CLEAR in a change of EVFILT_USER takes NOTE_TRIGGER back
    readerless_pipe_error: int  # EV_ADD WRITE on a pipe without reader; 0: accepted, EV_EOF
    pipe_write_eof_is_last: bool  # the knote is gone after that EV_EOF
    named_fifo_has_eof: bool
    refuses_devices: bool  # /dev/null, /dev/tty (not ptys): EINVAL unless NOTE_LOWAT with data 1
    refuses_directories: bool
    close_ends_waits: bool  # else a control() that is blocked stays so until its event


MACOS = Flavour(
    name="macos",
    # ~NOTE_PDATAMASK is a negative int there.
    exported={"KQ_NOTE_PCTRLMASK": ~0x000FFFFF},
    user_filter=-10,
    except_filter=-15,
    filter_count=18,
    refused_filters={-3: errno.EINVAL, -11: errno.EINVAL},
    looks_up_fd_first=False,
    error_keeps_flags=True,
    hidden_flags=0,
    receipt_needs_room=False,
    full_buffer_caps_lowat=True,
    oneshot_is_not_rechecked=False,
    clear_resets_trigger=False,
    readerless_pipe_error=0,
    pipe_write_eof_is_last=False,
    named_fifo_has_eof=False,
    refuses_devices=True,
    refuses_directories=True,
    close_ends_waits=True,
)

FREEBSD = Flavour(
    name="freebsd",
    exported={"KQ_NOTE_PCTRLMASK": 0xF0000000},
    user_filter=-11,
    except_filter=None,
    filter_count=13,
    # aio and lio knotes are made by aio_read(2) only (vfs_aio.c, filt_aioattach, filt_lioattach).
    refused_filters={-3: errno.EPERM, -10: errno.EPERM},
    looks_up_fd_first=True,
    error_keeps_flags=False,
    hidden_flags=EV_ADD | EV_DELETE | EV_ENABLE | EV_DISABLE,
    receipt_needs_room=True,
    full_buffer_caps_lowat=False,
    oneshot_is_not_rechecked=True,
    clear_resets_trigger=True,
    readerless_pipe_error=errno.EPIPE,
    pipe_write_eof_is_last=True,
    named_fifo_has_eof=True,
    refuses_devices=False,
    refuses_directories=False,
    close_ends_waits=False,
)

FLAVOURS = {flavour.name: flavour for flavour in (MACOS, FREEBSD)}
