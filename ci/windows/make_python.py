#!/usr/bin/env python3
"""Assemble a real Windows CPython that runs under Wine.

    make_python.py [--tests] [3.N]       default: the minor version of the host's python

    .cache/windows/wheels/               downloads
    .cache/windows/prefix/               the Wine prefix, shared by all versions
    .cache/windows/python-3.N/           python.exe, python3N.dll, DLLs/, Lib/
    .cache/windows/stdlib-3.N/           what Lib/ is made from, if no interpreter here has it

The DLL and the extension modules are python.org's own, from a wheel on PyPI that carries them.
Lib/ comes from an interpreter of the same minor version on this machine, or out of Debian's
packages, which are unpacked and not installed; the patch level need not match.  --tests adds
CPython's own tests, Lib/test.  python.exe is written by python_exe.py.  Running it again does only
what is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import python_exe
import winpy

WHEELS = winpy.CACHE / "wheels"
# The carrier ships the Windows Python of each cp3N it is built for (3.8 to 3.14) in a folder.
CARRIER, CARRIER_VERSION, CARRIER_FOLDER = "panda3d", "1.10.16", "deploy_libs/"
# The release of Debian that has a minor version which Debian 12 has not.
DEBIAN_RELEASES = {"3.13": "trixie"}
DEBIAN_MIRROR = "http://deb.debian.org/debian"
DEBIAN_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
# pip judges environment markers for the host: what only Windows needs has to be named.
PACKAGES = ["cffi", "colorama", "hypothesis", "pytest", "pytest-timeout", "pytest-xdist"]
PACKAGES_BEFORE_3_11 = ["exceptiongroup", "tomli", "typing_extensions"]
# api-ms-*: Wine's C runtime has them.  _wmi: platform.uname() through it ends the process, Wine
# lacks propsys.VariantToString; platform does without.  Tk: of no use without a display.
NOT_UNPACKED = ("api-ms-", "_wmi", "_tkinter", "tcl", "tk")
NOT_COPIED = (
    *("site-packages", "dist-packages", "lib-dynload", "config-*", "_sysconfigdata_*"),
    *("sitecustomize.py", "usercustomize.py", "EXTERNALLY-MANAGED", "__pycache__"),
    *("test", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip"),
)


def say(message: str) -> None:
    print(f"make_python: {message}", flush=True)


def digits(minor: str) -> str:
    return minor.replace(".", "")


def run(*command: str, cwd: Path | None = None) -> None:
    """A command of the host, its output shown only when it fails."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, text=True, cwd=cwd, **streams)
    if done.returncode:
        sys.exit(f"{done.stdout}\nmake_python: failed: {' '.join(command)}")


def run_pip(*arguments: str) -> None:
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments)


def for_windows(minor: str) -> list[str]:
    """pip's options to choose wheels for the target instead of for the host."""
    target = ["--platform", "win_amd64", "--implementation", "cp", "--python-version", minor]
    return ["--only-binary=:all:", *target]


def carrier_wheel(minor: str) -> Path:
    tag = f"cp{digits(minor)}"
    wheel = WHEELS / f"{CARRIER}-{CARRIER_VERSION}-{tag}-{tag}-win_amd64.whl"
    if not wheel.exists():
        say(f"downloading {wheel.name} (65 MB)")
        requirement = f"{CARRIER}=={CARRIER_VERSION}"
        run_pip("download", "--no-deps", f"--dest={WHEELS}", *for_windows(minor), requirement)
    return wheel


def unpack(wheel: Path, minor: str, python: Path) -> None:
    """python3N.dll and its C runtime beside python.exe, everything else in DLLs/."""
    dll, free_threaded = f"python{digits(minor)}.dll", f".cp{digits(minor)}t-"
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            folder, _, name = member.lower().rpartition("/")
            if f"{folder}/" != CARRIER_FOLDER or not name:
                continue
            # A free-threaded module has no DLL here to go with it.
            if name.startswith(NOT_UNPACKED) or free_threaded in name:
                continue
            beside = name == dll or name.startswith("vcruntime")
            target = python / name if beside else python / "DLLs" / member.rpartition("/")[2]
            target.write_bytes(archive.read(member))


def stdlib_folder(minor: str) -> Path:
    """Lib/ of an interpreter of this minor version: this one, one on PATH, one of pyenv, or out of
    Debian's packages.
    """
    if minor == winpy.HOST_MINOR:
        return Path(sysconfig.get_path("stdlib"))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [f"python{minor}", *map(str, sorted(pyenv.glob(f"{minor}.*/bin/python3")))]
    question = "import sysconfig; print(sysconfig.get_path('stdlib'))"
    for candidate in candidates:
        with contextlib.suppress(FileNotFoundError):
            # A pyenv shim of a version that is not active exists and fails.
            answer = subprocess.run(
                [candidate, "-I", "-c", question], capture_output=True, text=True
            )
            folder = Path(answer.stdout.strip())
            if answer.returncode == 0 and (folder / "os.py").exists():
                return folder
    if minor not in DEBIAN_RELEASES:
        sys.exit(f"make_python: no python{minor} on PATH or in {pyenv} to take Lib/ from")
    return debian_stdlib(minor)


def debian_stdlib(minor: str) -> Path:
    """Lib/ and its tests, of a release of Debian that need not be this one."""
    target = winpy.CACHE / f"stdlib-{minor}"
    made, stdlib = target / "made", target / "usr" / "lib" / f"python{minor}"
    if made.exists():
        return stdlib
    say(f"unpacking Python {minor} of Debian {DEBIAN_RELEASES[minor]}")
    shutil.rmtree(target, ignore_errors=True)
    (target / "lists" / "partial").mkdir(parents=True)
    (target / "archives" / "partial").mkdir(parents=True)
    source = f"deb [signed-by={DEBIAN_KEYS}] {DEBIAN_MIRROR} {DEBIAN_RELEASES[minor]} main\n"
    (target / "sources.list").write_text(source)
    # Sources, lists and cache of its own: nothing of the machine's is read or changed.
    settings = (
        *(f"Dir::Etc::SourceList={target}/sources.list", "Dir::Etc::SourceParts=-"),
        *(f"Dir::State::Lists={target}/lists", f"Dir::Cache={target}"),
    )
    apt = ["apt-get", "-qq", *(part for setting in settings for part in ("-o", setting))]
    run(*apt, "update")
    parts = ("minimal", "stdlib", "testsuite")
    run(*apt, "download", *(f"libpython{minor}-{part}" for part in parts), cwd=target)
    for package in target.glob("*.deb"):
        run("dpkg", "--extract", str(package), str(target))
        package.unlink()
    for folder in ("lists", "archives"):
        shutil.rmtree(target / folder)
    made.touch()
    return stdlib


def make_prefix() -> None:
    """A Wine prefix that says it is Windows 10."""
    made = winpy.PREFIX / "made"
    if made.exists():
        return
    say("making the Wine prefix (700 MB)")
    shutil.rmtree(winpy.PREFIX, ignore_errors=True)
    winpy.PREFIX.mkdir(parents=True)
    for command in (("wineboot", "--init"), ("winecfg", "-v", "win10")):
        winpy.quietly("wine", *command, timeout=300)
        winpy.quietly("wineserver", "-w", timeout=300)
    if not (winpy.PREFIX / "drive_c/windows/system32/kernel32.dll").exists():
        sys.exit("make_python: wineboot made no prefix")
    made.touch()


def windows_python(minor: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, winpy.__file__, f"-{minor}", *arguments]
    # Byte code is wanted: without it `import asyncio` takes two seconds.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env, timeout=600
    )


def make_python(minor: str) -> None:
    """The folder of one version, made anew when what it is made from is different."""
    python = winpy.python_folder(minor)
    packages = PACKAGES + (PACKAGES_BEFORE_3_11 if int(minor[2:]) < 11 else [])
    stdlib, wheel, recipe = stdlib_folder(minor), carrier_wheel(minor), python / "made-from"
    wanted = "\n".join([wheel.name, str(stdlib), *packages, Path(python_exe.__file__).read_text()])
    if recipe.exists() and recipe.read_text() == wanted:
        say(f"{python} is there")
        return
    shutil.rmtree(python, ignore_errors=True)
    (python / "DLLs").mkdir(parents=True)
    say(f"unpacking {wheel.name}")
    unpack(wheel, minor, python)
    python_exe.write(python / "python.exe", f"python{digits(minor)}.dll")
    say(f"copying {stdlib}")
    shutil.copytree(stdlib, python / "Lib", ignore=shutil.ignore_patterns(*NOT_COPIED))
    site_packages = python / "Lib" / "site-packages"
    say(f"installing {' '.join(packages)}")
    run_pip("install", "--no-compile", f"--target={site_packages}", *for_windows(minor), *packages)
    say("byte-compiling")
    windows_python(minor, "-m", "compileall", "-q", winpy.windows_path(str(python / "Lib")))
    imports = "sys, ssl, ctypes, select, _overlapped, asyncio, cffi, pytest"
    proof = windows_python(minor, "-c", f"import {imports}; print(sys.version, sys.executable)")
    if proof.returncode:
        sys.exit(f"{proof.stdout}{proof.stderr}\nmake_python: python.exe does not run")
    say(proof.stdout.strip())
    recipe.write_text(wanted)


def add_tests(minor: str) -> None:
    """CPython's own tests, from where Lib/ is from."""
    source, target = stdlib_folder(minor) / "test", winpy.python_folder(minor) / "Lib" / "test"
    if (target / "test_selectors.py").exists():
        return
    if not (source / "test_selectors.py").exists():
        sys.exit(f"make_python: no tests in {source} (Debian: libpython{minor}-testsuite)")
    say(f"copying {source}")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One assembly at a time in this cache; the next one then finds the work done."""
    WHEELS.mkdir(parents=True, exist_ok=True)
    with open(winpy.CACHE / "making", "w") as making:
        fcntl.flock(making, fcntl.LOCK_EX)
        yield


def main() -> None:
    arguments = [argument for argument in sys.argv[1:] if argument != "--tests"]
    minor = arguments[0] if arguments else winpy.HOST_MINOR
    if not re.fullmatch(r"3\.\d+", minor):
        sys.exit(__doc__)
    began = time.monotonic()
    with alone():
        make_prefix()
        make_python(minor)
        if "--tests" in sys.argv:
            add_tests(minor)
    say(f"done in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
