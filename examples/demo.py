"""The main job on real input: serve a directory on every backend, fetch it, compare every byte.

    python examples/demo.py [--quick] [--connections N]

Prints the backend table; then, for each backend that is available, runs ``http_file_server.py``
over a copy of Python's own standard library and one large file, and fetches all of it through many
connections at once; then ``completion_file_server.py`` behind ``proxy.py``, the same way; then
``completion_echo_server.py``. Exit status 1 if a single byte is wrong or missing.
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import quote

import netcore

EXAMPLES = Path(__file__).parent
MIB = 1 << 20
BIG_FILE = "big.bin"
BIG_FETCHES = 4  # At once, by as many connections.
ECHOED = 1 << 20  # Bytes of each connection, in messages of all sizes.
ROW = "{:<10} {:>8} {:>8} {:>12} {:>8} {:>7} {:>7}  {}"


@dataclass
class Outcome:
    """What happened on one backend; all workers add to it."""

    files: int = 0
    size: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, size: int) -> None:
        with self.lock:
            self.files += 1
            self.size += size


def make_site(site: Path, files: int, big: int) -> list[str]:
    """Fill ``site`` with real files and a generated one; return what to fetch, largest first."""
    library = Path(sysconfig.get_path("stdlib"))
    skipped = {"site-packages", "dist-packages", "__pycache__", "test", "tests"}
    found = []
    for folder, folders, names in os.walk(library):
        folders[:] = sorted(set(folders) - skipped)
        found += [Path(folder, name).relative_to(library) for name in sorted(names)]
    for path in found[:files]:
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(library / path, site / path)
    block = random.Random(1).getrandbits(8 * MIB).to_bytes(MIB, "little")
    with open(site / BIG_FILE, "wb") as file:
        for number in range(big // MIB):
            file.write(number.to_bytes(8, "little") + block[8:])  # No two blocks are the same.
    return [BIG_FILE] * BIG_FETCHES + [path.as_posix() for path in found[:files]]


@contextmanager
def running(program: str, backend: str, *arguments: object) -> Iterator[str]:
    """An example as a server in a process of its own; gives its host and port."""
    command = [sys.executable, str(EXAMPLES / program), "--port=0", f"--backend={backend}"]
    command += map(str, arguments)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"{program} did not start with {backend}")
            yield re.findall(r"[^ /]+:[0-9]+", line)[-1]
        finally:
            process.terminate()
            status = process.wait(10)
    if status and os.name == "posix":  # Elsewhere to be terminated is to fail.
        raise RuntimeError(f"{program} on {backend} ended with status {status}")


def fetch(connection: HTTPConnection, site: Path, name: str) -> int:
    """Fetch one file and compare it as it comes; return its size.

    Raises ValueError if anything is not as on the disk.
    """
    connection.request("GET", "/" + quote(name))
    response = connection.getresponse()
    size = 0
    with open(site / name, "rb") as file:
        while True:
            part = response.read(256 * 1024)
            if part != file.read(len(part) or 1):  # At the end of one, nor is there more of it.
                raise ValueError(f"wrong after {size} bytes, status {response.status}")
            if not part:
                return size
            size += len(part)


def fetch_all(
    netloc: str, site: Path, todo: queue.SimpleQueue[str], start: threading.Barrier, result: Outcome
) -> None:
    """One connection: fetch until there is nothing left, beginning when all are connected."""
    with closing(HTTPConnection(netloc, timeout=30)) as connection:
        try:
            connection.connect()
        except OSError as error:
            result.errors.append(f"connecting: {error!r}")
        start.wait(30)
        while True:
            try:
                name = todo.get_nowait()
            except queue.Empty:
                return
            try:
                result.add(fetch(connection, site, name))
            except (OSError, HTTPException, ValueError) as error:
                result.errors.append(f"{name}: {error!r}")
                connection.close()  # The next request connects again.


def echo_all(netloc: str, block: bytes, start: threading.Barrier, result: Outcome) -> None:
    """One connection: send ``block`` in pieces, and compare what comes back."""
    host, _, port = netloc.rpartition(":")
    with socket.create_connection((host, int(port)), 30) as sock, sock.makefile("rb") as file:
        chance = random.Random(sock.getsockname()[1])
        start.wait(30)
        position = 0
        while position < len(block):
            message = block[position : position + chance.randrange(1, 1 << 16)]
            try:
                sock.sendall(message)
                if file.read(len(message)) != message:
                    raise ValueError(f"wrong after {position} bytes")
            except (OSError, ValueError) as error:
                result.errors.append(repr(error))
                return
            position += len(message)
            result.add(len(message))


def measure(netloc: str, site: Path, names: list[str], connections: int) -> Outcome:
    """Fetch ``names`` through so many connections at once."""
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in names:
        todo.put(name)
    return at_once(connections, fetch_all, netloc, site, todo)


def at_once(connections: int, work: Callable[..., None], *arguments: object) -> Outcome:
    """Have so many threads ``work`` when all of them are connected."""
    result = Outcome()
    start = threading.Barrier(connections + 1)
    workers = [
        threading.Thread(target=work, args=(*arguments, start, result), daemon=True)
        for _ in range(connections)
    ]
    for worker in workers:
        worker.start()
    start.wait(30)
    begin = time.perf_counter()
    for worker in workers:
        worker.join()
    result.seconds = time.perf_counter() - begin
    return result


def report(backend: str, result: Outcome, expected: int, connections: int) -> bool:
    """Print a row of the table; return whether everything is right."""
    good = result.files == expected and not result.errors
    row = [
        backend,
        result.files,
        connections,
        f"{result.size:,}",
        f"{result.seconds:.2f}",
        f"{result.size / 1e6 / result.seconds:.0f}",
        len(result.errors),
        "every byte is right" if good else "WRONG",
    ]
    print(ROW.format(*row), flush=True)
    for error in result.errors[:10]:
        print(f"  {error}")
    return good


def headings(unit: str) -> None:
    columns = ["backend", unit, "connect.", "bytes", "seconds", "MB/s", "errors", "verdict"]
    print(ROW.format(*columns), flush=True)


def show_files(site: Path, names: list[str], connections: int) -> bool:
    """Serve ``names`` with both file servers; whether every byte is right."""
    good = True
    print(
        f"\nServing {len(names) - BIG_FETCHES} files of Python's standard library, and one of "
        f"{(site / BIG_FILE).stat().st_size // MIB} MiB\nthat is fetched {BIG_FETCHES} times, "
        "with examples/http_file_server.py:\n"
    )
    headings("files")
    for backend in netcore.available_backends():
        with running("http_file_server.py", backend, site) as netloc:
            result = measure(netloc, site, names, connections)
        good &= report(backend, result, len(names), connections)

    print("\nThe same with examples/completion_file_server.py, behind examples/proxy.py:\n")
    headings("files")
    for backend in netcore.available_backends():
        with (
            running("completion_file_server.py", backend, site) as target,
            running("proxy.py", backend, *target.split(":")) as netloc,
        ):
            result = measure(netloc, site, names, connections)
        good &= report(backend, result, len(names), connections)
    return good


def show_echo(connections: int) -> bool:
    """Have all that is said sent back; whether every byte is right."""
    good = True
    print("\nMessages of all sizes, sent back by examples/completion_echo_server.py:\n")
    headings("messages")
    block = random.Random(3).getrandbits(8 * ECHOED).to_bytes(ECHOED, "little")
    for backend in netcore.available_backends():
        with running("completion_echo_server.py", backend) as netloc:
            result = at_once(connections, echo_all, netloc, block)
        complete = result.size == connections * ECHOED
        good &= report(backend, result, result.files if complete else -1, connections)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and smaller files")
    parser.add_argument("--connections", type=int, default=200)
    options = parser.parse_args()
    files, big = (100, 4 * MIB) if options.quick else (1000, 32 * MIB)

    subprocess.run([sys.executable, "-m", "netcore"], check=True)
    with tempfile.TemporaryDirectory(prefix="netcore-demo-") as folder:
        names = make_site(Path(folder), files, big)
        good = show_files(Path(folder), names, options.connections)
    return 0 if show_echo(options.connections) and good else 1


if __name__ == "__main__":
    sys.exit(main())
