"""Write a python.exe: a 3 KB console program that hands its arguments to pythonXY.dll.

No compiler is needed: the image is a handful of records around forty bytes of code.  The code
does what the start-up of MSVC's `wmain` does, then calls `Py_Main`:

    _set_app_type(console); _configure_wide_argv(unexpanded); _initialize_wide_environment();
    exit(Py_Main(*__p___argc(), *__p___wargv()));

The manifest declares Windows 10, without which GetVersionEx answers 6.2 to every program.

Source of the format: Microsoft, "PE Format", learn.microsoft.com/windows/win32/debug/pe-format.
"""

from __future__ import annotations

import struct
from pathlib import Path

IMAGE_BASE = 0x140000000
FILE_ALIGNMENT, PAGE = 0x200, 0x1000
HEADERS_SIZE = 0x400
TEXT_ADDRESS, DATA_ADDRESS, RESOURCE_ADDRESS, IMAGE_END = (PAGE * n for n in (1, 2, 3, 4))
EXECUTE_READ_CODE, READ_WRITE_DATA, READ_DATA = 0x60000020, 0xC0000040, 0x40000040
MACHINE_AMD64, EXECUTABLE_LARGE_ADDRESS_AWARE = 0x8664, 0x22
PE32_PLUS, SUBSYSTEM_CONSOLE, NX_AND_TERMINAL_SERVER_AWARE = 0x20B, 3, 0x8100
IMPORT_DIRECTORY, RESOURCE_DIRECTORY = 1, 2
RT_MANIFEST, PROGRAM_MANIFEST_ID, US_ENGLISH = 24, 1, 0x409

WINDOWS_10 = "8e0f7a12-bfb3-4fe8-b9a5-48fd50a15a9a"
MANIFEST = f"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<assembly xmlns="urn:schemas-microsoft-com:asm.v1" manifestVersion="1.0">
<compatibility xmlns="urn:schemas-microsoft-com:compatibility.v1"><application>
<supportedOS Id="{{{WINDOWS_10}}}"/>
</application></compatibility>
</assembly>
""".encode()

C_RUNTIME = "ucrtbase.dll"
C_RUNTIME_FUNCTIONS = (
    "_set_app_type",
    "_configure_wide_argv",
    "_initialize_wide_environment",
    "__p___argc",
    "__p___wargv",
    "exit",
)


def import_section(libraries: dict[str, tuple[str, ...]]) -> tuple[bytes, dict[str, int]]:
    """The import data, and for each function the address of the slot the loader fills.

    Layout: one 20-byte descriptor for each library and a null one; for each library the lookup
    table and the address table (equal in the file); then the names.
    """
    tables_start = 20 * (len(libraries) + 1)
    names_start = tables_start + sum(2 * 8 * (len(f) + 1) for f in libraries.values())
    descriptors, tables, names = bytearray(), bytearray(), bytearray()
    slots: dict[str, int] = {}

    def add_name(prefix: bytes, name: str) -> int:
        address = DATA_ADDRESS + names_start + len(names)
        names.extend(prefix + name.encode() + b"\0")
        names.extend(bytes(len(names) % 2))
        return address

    for library, functions in libraries.items():
        no_hint = bytes(2)
        entries = [add_name(no_hint, function) for function in functions]
        table = struct.pack(f"<{len(entries) + 1}Q", *entries, 0)
        lookup_table = DATA_ADDRESS + tables_start + len(tables)
        address_table = lookup_table + len(table)
        tables += table + table
        slots.update({f: address_table + 8 * i for i, f in enumerate(functions)})
        library_name = add_name(b"", library)
        descriptors += struct.pack("<5I", lookup_table, 0, 0, library_name, address_table)
    return bytes(descriptors) + bytes(20) + bytes(tables) + bytes(names), slots


def code_section(slots: dict[str, int]) -> bytes:
    """The program: see the C text at the top of this file."""
    code = bytearray()

    def call(function: str) -> None:
        after = TEXT_ADDRESS + len(code) + 6
        code.extend(b"\xff\x15" + struct.pack("<i", slots[function] - after))

    code += b"\x53\x48\x83\xec\x20"  # push rbx; sub rsp, 32: shadow space, stack aligned
    code += b"\xb9\x01\0\0\0"  # mov ecx, 1: _crt_console_app
    call("_set_app_type")
    code += b"\xb9\x01\0\0\0"  # mov ecx, 1: _crt_argv_unexpanded_arguments
    call("_configure_wide_argv")
    call("_initialize_wide_environment")
    call("__p___argc")
    code += b"\x8b\x18"  # mov ebx, [rax]
    call("__p___wargv")
    code += b"\x48\x8b\x10\x89\xd9"  # mov rdx, [rax]; mov ecx, ebx
    call("Py_Main")
    code += b"\x89\xc1"  # mov ecx, eax
    call("exit")
    code += b"\xcc"  # int3: exit does not return
    return bytes(code)


def resource_section() -> bytes:
    """The manifest below its three directory levels: type, name, language."""
    directory_size, subdirectory = 16 + 8, 0x80000000
    levels = (RT_MANIFEST, PROGRAM_MANIFEST_ID, US_ENGLISH)
    section = b""
    for depth, identity in enumerate(levels, start=1):
        below = directory_size * depth | (subdirectory if depth < len(levels) else 0)
        section += struct.pack("<IIHHHHII", 0, 0, 0, 0, 0, 1, identity, below)
    content = RESOURCE_ADDRESS + len(section) + 16
    return section + struct.pack("<4I", content, len(MANIFEST), 0, 0) + MANIFEST


def headers(sections: list[tuple[bytes, int, bytes, int]], import_size: int) -> bytes:
    """The DOS, PE and section headers, padded to where the first section starts."""
    directories = [(0, 0)] * 16
    directories[IMPORT_DIRECTORY] = (DATA_ADDRESS, import_size)
    directories[RESOURCE_DIRECTORY] = (RESOURCE_ADDRESS, len(sections[2][2]))
    optional = struct.pack("<HBB5I", PE32_PLUS, 14, 0, 0, 0, 0, TEXT_ADDRESS, TEXT_ADDRESS)
    optional += struct.pack("<QII", IMAGE_BASE, PAGE, FILE_ALIGNMENT)
    optional += struct.pack("<6H4I", 6, 0, 0, 0, 6, 0, 0, IMAGE_END, HEADERS_SIZE, 0)
    optional += struct.pack("<HH", SUBSYSTEM_CONSOLE, NX_AND_TERMINAL_SERVER_AWARE)
    stack_and_heap = (4 << 20, PAGE, 1 << 20, PAGE)  # each: reserved, committed
    optional += struct.pack("<4Q2I", *stack_and_heap, 0, len(directories))
    optional += b"".join(struct.pack("<II", *directory) for directory in directories)

    image = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0"
    image += struct.pack("<HHIII", MACHINE_AMD64, len(sections), 0, 0, 0)
    image += struct.pack("<HH", len(optional), EXECUTABLE_LARGE_ADDRESS_AWARE) + optional
    position = HEADERS_SIZE
    for name, address, content, flags in sections:
        size = len(padded(content))
        image += struct.pack("<8s4I", name, len(content), address, size, position)
        image += struct.pack("<IIHHI", 0, 0, 0, 0, flags)
        position += size
    return image.ljust(HEADERS_SIZE, b"\0")


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % FILE_ALIGNMENT)


def image(dll: str) -> bytes:
    """The bytes of a python.exe (x86-64) that runs `Py_Main` of `dll`."""
    libraries = {dll: ("Py_Main",), C_RUNTIME: C_RUNTIME_FUNCTIONS}
    data, slots = import_section(libraries)
    sections = [
        (b".text", TEXT_ADDRESS, code_section(slots), EXECUTE_READ_CODE),
        (b".data", DATA_ADDRESS, data, READ_WRITE_DATA),
        (b".rsrc", RESOURCE_ADDRESS, resource_section(), READ_DATA),
    ]
    body = b"".join(padded(content) for _, _, content, _ in sections)
    return headers(sections, import_size=20 * (len(libraries) + 1)) + body


def write(path: Path, dll: str) -> None:
    path.write_bytes(image(dll))
