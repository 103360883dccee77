"""An echo server and its load, each in a process of its own on a processor of its own."""

from __future__ import annotations

import ctypes
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, NamedTuple

HERE = Path(__file__).resolve().parent
#: How long a process may be silent, in seconds, beyond what it was asked to work.
PATIENCE = 30


class Slice(NamedTuple):
    """What came of a stretch of load; the last echo of every connection is in it."""

    echoes: int
    #: The server's, in nanoseconds, the system's on its behalf included.
    processor: int
    #: Nanoseconds on the clock.
    elapsed: int

    def __add__(self, other: Any) -> Slice:
        return Slice(*map(sum, zip(self, other)))


def load_command(directory: str) -> list[str]:
    """How the load generator is started: compiled into ``directory``, or else in Python."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return [sys.executable, str(HERE / "echo_load.py")]
    program = str(Path(directory) / "echo_load")
    subprocess.run([compiler, "-O2", str(HERE / "echo_load.c"), "-o", program], check=True)
    return [program]


def processors() -> tuple[set[int], set[int]]:
    """For the server, and for the load: two different ones if there are two."""
    mine = sorted(os.sched_getaffinity(0))
    return {mine[-1]}, {mine[0]}


class Server:
    """A server with all its connections, idle. ``name`` is one of SERVERS; with ``@DIRECTORY``
    behind it netcore is imported from there.
    """

    def __init__(self, name: str, connections: int, size: int, load: list[str]) -> None:
        name, _, path = name.partition("@")
        environment = {**os.environ, "PYTHONPATH": path} if path else None
        of_server, of_load = processors()
        self._server = subprocess.Popen(
            [sys.executable, str(HERE / "echo_servers.py"), name, str(connections)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._load: subprocess.Popen[str] | None = None
        try:
            os.sched_setaffinity(self._server.pid, of_server)
            port = _line(self._server.stdout)
            self._load = subprocess.Popen(
                [*load, port, str(connections), str(size)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            os.sched_setaffinity(self._load.pid, of_load)
            self._clock = _clock_of(self._server.pid)
        except BaseException:
            self.close()
            raise

    def wait_until_ready(self) -> None:
        assert self._load is not None
        _line(self._load.stdout)

    def run(self, seconds: float) -> Slice:
        assert self._load is not None
        assert self._load.stdin is not None
        before = time.clock_gettime_ns(self._clock)
        self._load.stdin.write(f"{seconds}\n")
        self._load.stdin.flush()
        echoes, elapsed = map(int, _line(self._load.stdout).split())
        return Slice(echoes, time.clock_gettime_ns(self._clock) - before, elapsed)

    def system_calls(self, seconds: float) -> dict[str, float]:
        """How many of each there are per echo, as strace(1) counts; none if it may not."""
        command = ["strace", "-f", "-c", "-p", str(self._server.pid)]
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert tracer.stderr is not None
        if "attached" not in (said := tracer.stderr.readline()):
            tracer.communicate()
            print(f"system calls are not counted: {said.strip()}")
            return {}
        echoes = self.run(seconds).echoes
        tracer.send_signal(signal.SIGINT)
        table = tracer.communicate()[1]
        # % time, seconds, usecs/call, calls, errors (or nothing), syscall.
        rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+)(?: +\d+)? +(\w+)$", table, re.M)
        return {name: int(count) / echoes for count, name in rows if name != "total"}

    def close(self) -> None:
        """The load ends with its input, and the server with the last of its connections."""
        for process in filter(None, (self._load, self._server)):
            if process.stdin:
                process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _line(file: IO[str] | None) -> str:
    assert file is not None
    if not select.select([file], [], [], PATIENCE)[0]:
        raise SystemExit(f"no answer within {PATIENCE} seconds: a server has lost something")
    line = file.readline()
    if not line:
        raise SystemExit("a process of the benchmark has ended too early; see above")
    return line.strip()


def _clock_of(pid: int) -> int:
    """The clock of the processor time of another process: finer than the ticks in /proc."""
    clock = ctypes.c_int()
    code = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if code:
        raise OSError(code, os.strerror(code))
    return clock.value
