"""What a descriptor is, as far as a backend has to know before it watches one."""

from __future__ import annotations

import errno
import os
import stat

_ALWAYS_READY = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a directory",
    stat.S_IFBLK: "a block device",
}


def refuse_files(fd: int) -> None:
    """Raise PermissionError for what is always ready, as epoll_ctl(2) does, and EBADF if closed.

    poll(2) and select(2) accept such a file and report it for ever; a kqueue does or does not,
    depending on the system.
    """
    kind = _ALWAYS_READY.get(stat.S_IFMT(os.fstat(fd).st_mode))
    if kind:
        raise PermissionError(errno.EPERM, f"{kind} is always ready and cannot be watched")
