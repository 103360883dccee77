"""The examples in the documentation run."""

from __future__ import annotations

import contextlib
import errno
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import netcore

ROOT = Path(__file__).parents[1]
SOON = 10.0

if not (ROOT / "README.md").exists():
    pytest.skip("the documentation is not here", allow_module_level=True)


def _blocks(name: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", [0, 1], ids=["readiness", "completion"])
def test_the_servers_in_the_readme_echo(number: int) -> None:
    program = _blocks("README.md")[number]
    assert program.count("7000") == 1
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", program.replace("7000", str(port))]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            for message in (b"hello", b"again"):
                with _connected(port) as sock:
                    for _ in range(3):
                        sock.sendall(message)
                        assert sock.recv(5) == message
            assert process.poll() is None
        finally:
            process.kill()


def _connected(port: int) -> socket.socket:
    """A connection to a server that may be about to start."""
    deadline = time.monotonic() + SOON
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), SOON)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("backend", netcore.available_backends())
def test_the_tutorial_of_completion_runs(backend: str) -> None:
    """From top to bottom, with a selector and a pair of sockets."""
    with contextlib.ExitStack() as stack:

        def pair() -> tuple[socket.socket, socket.socket]:
            sock, peer = (stack.enter_context(end) for end in socket.socketpair())
            sock.setblocking(False)
            return sock, peer

        sock, peer = pair()
        selector = stack.enter_context(netcore.Selector(backend))
        names = {
            **{"netcore": netcore, "selector": selector, "sock": sock, "peer": peer},
            **{"pair": pair, "errno": errno, "threading": threading},
        }
        blocks = _blocks("docs/completion.md")
        assert len(blocks) > 5
        for block in blocks:
            exec(block, names)
