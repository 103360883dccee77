"""What every server here has besides its loop: a listener, options, and a way to be interrupted."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import netcore

#: accept(2): no descriptor is left, for the process or for the system.
OUT_OF_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket, non-blocking; port 0 is any that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=1024)
    listener.setblocking(False)
    return listener


def address_of(listener: socket.socket) -> str:
    """Host and port, as in a URL."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def room_of(selector: netcore.Selector) -> int:
    """How many connections there can be, if each has two descriptors; select(2) has few."""
    return max((selector.max_descriptors or 1_000_000) // 2 - 32, 1)


def options(description: str, port: int) -> argparse.ArgumentParser:
    """A parser of the options that every server has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=port, help="0 is any that is free")
    parser.add_argument("--backend", help=f"one of {', '.join(netcore.available_backends())}")
    parser.add_argument("--idle", type=float, default=30.0, metavar="SECONDS")
    return parser


def run(make: Callable[[], Any], what: str) -> None:
    """Make a server, and run it until the program is interrupted or terminated."""
    # To be terminated is to be interrupted: the server closes everything either way.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server = make()
        print(f"{what} at {server.address} with {server.selector.backend}", flush=True)
        server.run()
    except KeyboardInterrupt:
        print("stopped")
    except (OSError, OverflowError, ValueError) as error:
        raise SystemExit(str(error)) from None


def serve_directory(make: Callable[..., Any]) -> None:
    """The program of a file server, made by ``make(directory, host, port, backend, idle)``."""
    parser = options("Serve a directory over HTTP.", 8000)
    parser.add_argument("directory", nargs="?", default=".", metavar="DIRECTORY")
    given = parser.parse_args()
    directory = os.path.realpath(given.directory)
    if not os.path.isdir(directory):
        parser.error(f"not a directory: {directory}")
    run(lambda: make(directory, given.host, given.port, given.backend, given.idle), directory)
