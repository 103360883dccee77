#!/usr/bin/env python3
"""Install netcore's wheel into an assembled Windows Python: the one given, or one built here.

    install.py [3.N] [WHEEL]

The wheel is built from a copy of the sources, so that nothing a former build left behind gets
into it.  Sources or a wheel that are installed already are not installed again.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import time
from pathlib import Path

import make_python
import winpy

CHECKOUT = Path(__file__).resolve().parents[2]
# What a wheel is made from, and nothing else: other files may come and go.
SOURCES = ("netcore", "backends", "tests/conformance", "pyproject.toml", "README.md", "LICENSE")


def copy_sources(target: Path) -> None:
    for name in SOURCES:
        source = CHECKOUT / name
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            # netcore/backends is a symlink for static tools; as a folder it would be packed twice.
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target / name, symlinks=True, ignore=ignore)
        elif source.exists():
            shutil.copyfile(source, target / name)


def digest(files: list[Path], root: Path) -> str:
    """Changes with the name and content of any of the files."""
    sha = hashlib.sha256()
    for file in sorted(files):
        sha.update(f"{file.relative_to(root)}\n{file.stat().st_size}\n".encode())
        sha.update(file.read_bytes())
    return sha.hexdigest()


def install(wheel: Path, minor: str, site_packages: Path) -> None:
    # A dist-info of another version would leave its entry points behind.
    for old in (site_packages / "netcore", *site_packages.glob("netcore-*.dist-info")):
        shutil.rmtree(old, ignore_errors=True)
    target = f"--target={site_packages}"
    options = ("--no-deps", "--no-compile", "--no-index", "--upgrade", target)
    make_python.run_pip("install", *options, *make_python.for_windows(minor), str(wheel))


def main() -> None:
    arguments, minor = sys.argv[1:], winpy.HOST_MINOR
    if arguments and arguments[0].startswith("3."):
        minor = arguments.pop(0)
    site_packages = winpy.python_folder(minor) / "Lib" / "site-packages"
    installed = site_packages / "netcore.installed-from"
    began = time.monotonic()
    with make_python.alone(), tempfile.TemporaryDirectory(prefix="netcore-wheel-") as folder:
        sources, wheels = Path(folder, "sources"), Path(folder, "wheels")
        if arguments:
            wheel = Path(arguments[0]).resolve(strict=True)
            origin = digest([wheel], wheel.parent)
        else:
            copy_sources(sources)
            files = [path for path in sources.rglob("*") if path.is_file()]
            origin = digest(files, sources)
        if installed.exists() and installed.read_text() == origin:
            make_python.say("netcore is installed")
            return
        if not arguments:
            make_python.run_pip("wheel", "--no-deps", f"--wheel-dir={wheels}", str(sources))
            (wheel,) = wheels.glob("netcore-*.whl")
        installed.unlink(missing_ok=True)
        install(wheel, minor, site_packages)
        installed.write_text(origin)
    make_python.say(f"installed {wheel.name} in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
