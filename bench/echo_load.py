"""The load of echo_bench.py where there is no C compiler; echo_load.c says what it does.

It is as slow as what it measures: believe the processor time, not the echoes per second.
"""

from __future__ import annotations

import select
import socket
import sys
from time import perf_counter_ns

_ROOM = 1 << 16


class _Load:
    def __init__(self, port: int, connections: int, size: int) -> None:
        self.message = bytes((i * 31 >> 3) & 255 for i in range(size))
        self.epoll = select.epoll()
        self.socks: dict[int, socket.socket] = {}
        self.unsent: dict[int, bytes] = {}
        for _ in range(connections):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            self.epoll.register(sock, select.EPOLLIN)
            self.socks[sock.fileno()] = sock

    def send(self, fd: int, data: bytes) -> None:
        try:
            sent = self.socks[fd].send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self.unsent[fd] = data[sent:]
            self.epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT)
        elif self.unsent.pop(fd, None):
            self.epoll.modify(fd, select.EPOLLIN)

    def run(self, seconds: float) -> tuple[int, int]:
        """How many echoes, in how many nanoseconds."""
        begin = perf_counter_ns()
        end, echoes = begin + int(seconds * 1e9), 0
        received = dict.fromkeys(self.socks, 0)
        busy = len(received)
        for fd in received:
            self.send(fd, self.message)
        while busy:
            over = perf_counter_ns() >= end
            for fd, events in self.epoll.poll():
                if events & select.EPOLLOUT:
                    self.send(fd, self.unsent[fd])
                if not events & ~select.EPOLLOUT:
                    continue
                data = self.socks[fd].recv(_ROOM)
                before = received[fd]
                received[fd] = after = before + len(data)
                if not data or (over and data != self.message[before:after]):
                    raise SystemExit("not what was sent" if data else "the server has hung up")
                if after == len(self.message):
                    received[fd] = 0
                    echoes += 1
                    if over:
                        busy -= 1
                    else:
                        self.send(fd, self.message)
        return echoes, perf_counter_ns() - begin


def main() -> None:
    load = _Load(*map(int, sys.argv[1:]))
    print("ready", flush=True)
    for line in sys.stdin:
        print(*load.run(float(line)), flush=True)


if __name__ == "__main__":
    main()
