"""The declarations of the Windows backend say what the Windows SDK headers say.

abi_table.json holds the answers of the SDK, `[64-bit, 32-bit]` for each question. Debian's
mingw-w64 gives them without running anything: a C file of the questions is compiled to assembly,
where the numbers can be read. `python tests/test_abi.py` records the table anew.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netcore.backends.iocp import _abi
from netcore.backends.iocp._declarations import CDEF

TABLE = Path(__file__).with_name("abi_table.json")
COMPILERS = {64: "x86_64-w64-mingw32-gcc", 32: "i686-w64-mingw32-gcc"}
INSTALL = "apt-get install gcc-mingw-w64-x86-64-win32 gcc-mingw-w64-i686-win32"

# ntstatus.h and windows.h define the STATUS_* codes both unless told otherwise.
HEADERS = """
#define _WIN32_WINNT 0x0A00
#define WIN32_NO_STATUS
#include <winsock2.h>
#include <ws2tcpip.h>
#include <mswsock.h>
#include <windows.h>
#include <winternl.h>
#undef WIN32_NO_STATUS
#include <ntstatus.h>
#include <stddef.h>
#include <stdint.h>
"""
# No SDK header declares these: as in wepoll.c.
AFD = """
typedef struct { HANDLE Handle; ULONG Events; NTSTATUS Status; } AFD_POLL_HANDLE_INFO;
typedef struct { LARGE_INTEGER Timeout; ULONG NumberOfHandles; ULONG Exclusive;
                 AFD_POLL_HANDLE_INFO Handles[1]; } AFD_POLL_INFO;
"""
NOT_IN_HEADERS = {
    "ERROR_HANDLES_CLOSED": 676,  # missing in mingw's winerror.h, present in Microsoft's
    "AFD_POLL_INFINITE": (1 << 63) - 1,
    "IOCTL_AFD_POLL": 0x00012024,
    "AFD_POLL_RECEIVE": 0x001,
    "AFD_POLL_RECEIVE_EXPEDITED": 0x002,
    "AFD_POLL_SEND": 0x004,
    "AFD_POLL_DISCONNECT": 0x008,
    "AFD_POLL_ABORT": 0x010,
    "AFD_POLL_LOCAL_CLOSE": 0x020,
    "AFD_POLL_CONNECT": 0x040,
    "AFD_POLL_ACCEPT": 0x080,
    "AFD_POLL_CONNECT_FAIL": 0x100,
}


def public(kind: type) -> dict[str, Any]:
    names = (name for name in vars(_abi) if name.isupper() and not name.startswith("_"))
    return {name: getattr(_abi, name) for name in names if type(getattr(_abi, name)) is kind}


def functions() -> list[str]:
    return re.findall(r"__stdcall (\w+)\(", CDEF)


def function_pointers() -> list[str]:
    return re.findall(r"\(__stdcall \*(\w+)\)", CDEF)


@functools.cache
def parsed() -> Any:
    """The declarations as cffi sees them, each function also as a type `type_of_NAME`."""
    cffi = pytest.importorskip("cffi", reason="cffi is not installed: pip install cffi")
    ffi = cffi.FFI()
    ffi.cdef(CDEF)
    prototypes = re.findall(r"^\w+ __stdcall \w+\([^;]*;", CDEF, re.M)
    for prototype in prototypes:
        pointer = re.sub(r"__stdcall (\w+)\(", r"(__stdcall *type_of_\1)(", prototype)
        ffi.cdef(f"typedef {pointer}")
    return ffi


def fields(ctype: Any) -> Iterator[str]:
    """The names of the fields, those of nameless structs and unions included."""
    for name, field in ctype.fields:
        if name:
            yield name
        else:
            yield from fields(field.type)


def argument_bytes(function: Any) -> int:
    """What the arguments take on a 32-bit stack; `__stdcall` names a function by it: f@12."""
    wide = ("int64_t", "uint64_t", "double")
    return sum(8 if argument.cname in wide else 4 for argument in function.args)


def cffi_answers(ffi: Any) -> dict[str, int]:
    """Each question about the declarations, with cffi's answer on this host."""
    answers: dict[str, int] = {}
    for name in ffi.list_types()[0]:
        ctype = ffi.typeof(name)
        if ctype.kind == "function":
            answers[f"argument_bytes({name.replace('type_of_', '')})"] = argument_bytes(ctype)
            continue
        answers[f"sizeof({name})"] = ffi.sizeof(ctype)
        if ctype.kind == "primitive":
            answers[f"(({name})-1 < 0)"] = int(int(ffi.cast(ctype, -1)) < 0)
        if ctype.kind == "struct":
            example = ffi.new(f"{name} *")
            for field in fields(ctype):
                answers[f"offsetof({name}, {field})"] = ffi.offsetof(ctype, field)
                size = ffi.sizeof(ffi.typeof(ffi.addressof(example, field)).item)
                answers[f"sizeof((({name} *)0)->{field})"] = size
    return answers


def compiled(compiler: str, source: str, *options: str) -> str:
    command = [compiler, "-std=gnu11", "-w", "-x", "c", *options, "-o", "-", "-"]
    return subprocess.run(
        command, input=HEADERS + AFD + source, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def sdk_values(compiler: str, expressions: list[str]) -> dict[str, int]:
    listed = ",\n".join(f"(long long)(intptr_t)({expression})" for expression in expressions)
    assembly = compiled(compiler, f"const long long values[] = {{ {listed} }};\n", "-S")
    directives = assembly.partition("values:\n")[2]
    content = b""
    for kind, number in re.findall(r"^\s+\.(quad|long|space)\s+(-?\d+)$", directives, re.M):
        width = {"quad": 8, "long": 4, "space": 0}[kind]
        content += (int(number) % (1 << 8 * width)).to_bytes(width, "little") if width else b""
        content += bytes(int(number)) if kind == "space" else b""
    values = struct.unpack_from(f"<{len(expressions)}q", content)
    return dict(zip(expressions, values))


def sdk_guids(compiler: str) -> dict[str, str]:
    names = [name for name in public(bytes) if name.startswith("WSAID_")]
    text = compiled(compiler, "".join(f"guid_of {name}_ {name};\n" for name in names), "-E", "-P")
    guids = {}
    for name, initializer in re.findall(r"guid_of (\w+)_\s+([^;]*);", text):
        numbers = [int(number, 16) for number in re.findall(r"0x\w+", initializer)]
        guids[name] = struct.pack("<IHH8B", *numbers).hex()
    return guids


def sdk_argument_bytes(compiler: str) -> dict[str, int]:
    """From the decorated names: of the import libraries, or of a call through a pointer type."""
    libraries = [
        subprocess.check_output([compiler, f"-print-file-name=lib{name}.a"], text=True).strip()
        for name in ("kernel32", "ntdll", "ws2_32")
    ]
    nm = compiler.replace("-gcc", "-nm")
    names = subprocess.check_output([nm, *libraries], text=True, stderr=subprocess.DEVNULL)
    probes = "".join(
        f"extern __typeof__(*(({name})0)) probe_{name}; void *g_{name}(void) "
        f"{{ return (void *)probe_{name}; }}\n"
        for name in function_pointers()
    )
    names += compiled(compiler, probes, "-S")
    return {name: int(size) for name, size in re.findall(r"\b_(?:probe_)?(\w+)@(\d+)\b", names)}


def sdk_table() -> dict[str, Any]:
    """What the SDK answers to every question that the declarations raise."""
    questions = cffi_answers(parsed())
    layout = [question for question in questions if not question.startswith("argument_bytes")]
    constants = [name for name in public(int) if name not in NOT_IN_HEADERS]
    wide, narrow = (sdk_values(COMPILERS[bits], layout + constants) for bits in (64, 32))
    sizes = sdk_argument_bytes(COMPILERS[32])
    return {
        "layout": {question: [wide[question], narrow[question]] for question in layout},
        "constants": {name: wide[name] % (1 << 32) for name in constants},
        "guids": sdk_guids(COMPILERS[64]),
        "arguments": {name: sizes.get(name) for name in functions() + function_pointers()},
    }


def recorded() -> Any:
    return json.loads(TABLE.read_text())


def test_the_recorded_table_is_what_the_sdk_says() -> None:
    """The table replaces a compiler where there is none, so it must be what one would say."""
    missing = [name for name in COMPILERS.values() if not shutil.which(name)]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)}: {INSTALL}")
    assert sdk_table() == recorded()


def test_layouts_are_those_of_windows() -> None:
    """cffi packs by the host's rules; fixed-width types make them Windows' on any host."""
    ffi = parsed()
    if ffi.alignof("int64_t") != 8:
        pytest.skip("this host aligns int64_t to 4 bytes, every Windows to 8")
    column = 0 if ffi.sizeof("void *") == 8 else 1
    layout = {question: answers[column] for question, answers in recorded()["layout"].items()}
    answers = cffi_answers(ffi)
    assert {q: a for q, a in answers.items() if not q.startswith("argument_bytes")} == layout


def test_functions_take_the_arguments_that_windows_takes() -> None:
    """A wrong count or width corrupts the stack of a 32-bit process without a word."""
    answers = cffi_answers(parsed())
    named = {q[len("argument_bytes(") : -1]: a for q, a in answers.items() if "_bytes(" in q}
    assert named == recorded()["arguments"]


def test_constants_are_those_of_windows() -> None:
    """The headers write NTSTATUS, HANDLE and SOCKET values unsigned: 32 bits are compared."""
    ours = {n: v % (1 << 32) for n, v in public(int).items() if n not in NOT_IN_HEADERS}
    assert ours == recorded()["constants"]


def test_constants_that_the_headers_lack_are_as_recorded() -> None:
    """AFD is not public; wepoll, polling and mio agree on its numbers."""
    assert {name: getattr(_abi, name) for name in NOT_IN_HEADERS} == NOT_IN_HEADERS


def test_guids_are_those_of_windows() -> None:
    """The bytes are what WSAIoctl reads: three little-endian numbers, eight bytes."""
    assert {name: value.hex() for name, value in public(bytes).items()} == recorded()["guids"]


@pytest.mark.parametrize(
    ("word", "status"),
    [(0, 0), (0x103, 0x103), (0xC0000120, -0x3FFFFEE0), (0xFFFFFFFF_C0000120, -0x3FFFFEE0)],
)
def test_a_status_is_the_low_half_of_a_word_and_signed(word: int, status: int) -> None:
    """OVERLAPPED.Internal is as wide as a pointer, NTSTATUS has 32 bits; negative is failure."""
    assert _abi.ntstatus(word) == status


def test_importing_the_declarations_does_not_import_cffi() -> None:
    """cffi is a dependency on Windows only, and parsing costs time that is spent on first use."""
    code = "import sys, netcore.backends.iocp._declarations; sys.exit('cffi' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":
    text = json.dumps(sdk_table(), indent=1)
    TABLE.write_text(re.sub(r"\[\s+(\d+),\s+(\d+)\s+\]", r"[\1, \2]", text) + "\n")
