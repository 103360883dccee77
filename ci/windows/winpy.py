#!/usr/bin/env python3
"""Run an assembled Windows Python under Wine as if it were a Unix python.

    winpy.py [-3.N] ARGUMENTS...          default: the minor version of the host's python

Standard streams may be pipes, files, terminals or closed.  Exit codes come back modulo 256, as
Wine gives them; 128+n when a signal ended the program.  SIGINT is a Ctrl-C to the program.  Unix
paths serve as arguments (drive Z: is /) and in PYTHONPATH.  WINPY_TIMEOUT=SECONDS ends the
program, with exit code 124.  If the wineserver dies, which is the kernel to Wine's programs, they
are ended with exit code 125, and its last words are printed.  Several may run at once; the last
one out stops the wineserver and whatever still runs in it.  make_python.py assembles the Pythons.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "windows"
PREFIX = CACHE / "prefix"
HOST_MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
TIMED_OUT = 124  # as timeout(1)
SERVER_DIED = 125
SERVER_LOG = PREFIX / "wineserver.log"
LOOK = 2.0  # every so many seconds, whether the wineserver lives


def python_folder(minor: str) -> Path:
    return CACHE / f"python-{minor}"


def windows_path(path: str) -> str:
    """/a/b -> Z:\\a\\b; a relative path stays as it is."""
    return "Z:" + path.replace("/", "\\") if path.startswith("/") else path


def environment() -> dict[str, str]:
    """The environment for Wine: a prefix of our own, no display, a UTF-8 locale."""
    without = ("DISPLAY", "WAYLAND_DISPLAY", "PYTHONHOME", "WINESERVER", "WINELOADER")
    env = {name: value for name, value in os.environ.items() if name not in without}
    search_path = env.get("PYTHONPATH", "")
    if search_path and not re.search(r";|\b[A-Za-z]:\\", search_path):  # not a Windows one already
        env["PYTHONPATH"] = ";".join(map(windows_path, search_path.split(":")))
    env.setdefault("PYTHONIOENCODING", "utf-8")  # Wine's ANSI code page is 1252
    env.setdefault("WINEDEBUG", "-all")
    no_prompts = "mscoree,mshtml,winemenubuilder.exe=d"  # to install Mono, Gecko; menu entries
    env.update(WINEPREFIX=str(PREFIX), WINEARCH="win64", WINEDLLOVERRIDES=no_prompts)
    env["LC_ALL"] = "C.UTF-8"  # else arguments and file names are ASCII only
    return env


def quietly(*command: str, timeout: float = 120) -> int:
    """Run a Wine tool away from our streams, which a server it starts would keep open."""
    null = subprocess.DEVNULL
    done = subprocess.run(
        command, env=environment(), stdin=null, stdout=null, stderr=null, timeout=timeout
    )
    return done.returncode


def server_lives() -> bool:
    return quietly("wineserver", "-k0") == 0


def start_server() -> None:
    """What it says is kept in a file: mostly nothing, the assertion that failed if it dies."""
    null = subprocess.DEVNULL
    with open(SERVER_LOG, "w") as log:
        command = ("wineserver", "-p")
        subprocess.run(command, env=environment(), stdin=null, stdout=null, stderr=log, timeout=120)


def end_orphans() -> None:
    """End what a wineserver has left that died: waiting for its answer, they do so for ever."""
    prefix = f"\0WINEPREFIX={PREFIX}\0".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # It is gone, or is none of ours.
            program = (process / "exe").resolve().name
            if program.startswith("wine") and prefix in (process / "environ").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)


@contextlib.contextmanager
def wine_running() -> Iterator[None]:
    """Wine's server and services run while inside; whoever leaves last stops them.

    Users share `in-use`.  Having it alone means to be the last.  flock(2): a failed attempt at
    that gives up the shared lock, so of two that leave at once exactly one succeeds.
    """
    with open(PREFIX / "in-use", "w") as in_use, open(PREFIX / "starting", "w") as starting:
        fcntl.flock(in_use, fcntl.LOCK_SH)
        try:
            with starting:
                fcntl.flock(starting, fcntl.LOCK_EX)
                if not server_lives():
                    end_orphans()
                    start_server()
                    quietly("wine", "cmd", "/c", "exit")
            yield
        finally:
            with contextlib.suppress(BlockingIOError):  # somebody else is still there
                fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stop_wine()


def stop_wine() -> None:
    # Never -k9: it leaves services.exe and others running for ever.
    for option in ("-k", "-w"):
        with contextlib.suppress(subprocess.TimeoutExpired):
            quietly("wineserver", option, timeout=20)
    end_orphans()


def relay(source: int, target: int) -> threading.Thread:
    """Copy source to target until one of them ends, then close both.

    Wine 8 cannot use a regular file as a standard stream (GetFileInformationByHandle fails with
    ERROR_INVALID_HANDLE, Python dies at start-up) and turns a terminal into a full-screen console.
    """

    def copy() -> None:
        with contextlib.suppress(OSError):  # the reader has gone: the writer finds out by itself
            while chunk := os.read(source, 65536):
                while chunk:
                    chunk = chunk[os.write(target, chunk) :]
        os.close(source)
        os.close(target)

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return thread


def usable_by_wine(fd: int) -> bool:
    mode = os.fstat(fd)
    is_null = stat.S_ISCHR(mode.st_mode) and mode.st_rdev == os.stat(os.devnull).st_rdev
    return is_null or stat.S_ISFIFO(mode.st_mode)


def fill_closed_streams() -> None:
    """Nothing that is opened later may land on 0, 1 or 2."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is fd


def start(command: list[str]) -> tuple[subprocess.Popen[bytes], list[threading.Thread]]:
    """The running program, and the threads that carry its output."""
    streams, ours, carriers = [0, 1, 2], [], []
    if os.isatty(0):
        streams[0] = os.open(os.devnull, os.O_RDONLY)
        ours.append(streams[0])
    for fd in range(3):
        if streams[fd] != fd or usable_by_wine(fd):
            continue
        readable, writable = os.pipe()
        if fd == 0:
            relay(os.dup(0), writable)
        else:
            carriers.append(relay(readable, os.dup(fd)))
        streams[fd] = readable if fd == 0 else writable
        ours.append(streams[fd])
    # A session of its own: a terminal's Ctrl-C reaches us alone, and is passed on once.
    program = subprocess.Popen(
        command,
        env=environment(),
        stdin=streams[0],
        stdout=streams[1],
        stderr=streams[2],
        start_new_session=True,
    )
    for fd in ours:
        os.close(fd)
    return program, carriers


def wait_for(program: subprocess.Popen[bytes], timeout: float | None) -> int:
    """Its exit code; TIMED_OUT or SERVER_DIED if it was killed."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        try:
            return program.wait(LOOK)
        except subprocess.TimeoutExpired:
            if deadline is not None and time.monotonic() > deadline:
                code = TIMED_OUT
                break
            if not server_lives() and program.poll() is None:
                words = SERVER_LOG.read_text(errors="replace").strip() or "it said nothing"
                print(f"winpy: the wineserver has died: {words}", file=sys.stderr)
                code = SERVER_DIED
                break
    program.kill()
    program.wait()
    return code


def run(command: list[str], timeout: float | None) -> int:
    """The exit code of the program, its output delivered and Wine stopped if nobody needs it."""

    def pass_on(number: int, _frame: object) -> None:
        # SIGHUP: our terminal is gone.  The program has none that could tell it.
        program.send_signal(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)

    with wine_running():
        program, carriers = start(command)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, pass_on)
        code = wait_for(program, timeout)
        for carrier in carriers:
            carrier.join(2)  # longer only when an orphan of the program holds the pipe
    for carrier in carriers:
        carrier.join(2)  # the orphan is gone if we were the last
    return code if code >= 0 else 128 - code


def main() -> int:
    arguments, minor = sys.argv[1:], HOST_MINOR
    if arguments and re.fullmatch(r"-3\.\d+", arguments[0]):
        minor = arguments.pop(0)[1:]
    python = python_folder(minor) / "python.exe"
    if not python.exists():
        print(f"winpy: no {python}: run make_python.py {minor}", file=sys.stderr)
        return 2
    fill_closed_streams()
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    timeout = float(os.environ.get("WINPY_TIMEOUT") or 0) or None
    return run(["wine", str(python), *arguments], timeout)


if __name__ == "__main__":
    sys.exit(main())
