"""``python -m netcore`` tells of every backend, whatever state it is in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from netcore import __main__ as main
from netcore import available_backends
from netcore._loader import find, known_backends, why_not
from netcore.contract import EVENT_NAMES, ONESHOT

# One module, with backends that are broken in all the ways that another package's may be.
BROKEN = """
from netcore.contract import ReadinessBackend

class Good(ReadinessBackend):
    name = "good"
    max_descriptors = 7
    timeout_granularity = 2e-06
    sockets_only = True
    available = classmethod(lambda cls: True)
    def close(self): pass
    def watch(self, fd, old, new): pass
    def wait(self, timeout, limit=None): return []

class Raises(Good):
    @classmethod
    def available(cls):
        raise RuntimeError("two\\nlines, and an \\xfc")

class Senseless(Good):
    supports = "everything"

not_a_class = object()
not_a_backend = dict
"""
BROKEN_NAMES = {
    "nomodule": ("no_such_module:Class", "No module named"),
    "noclass": ("broken_backends:Missing", "Missing"),
    "raises": ("broken_backends:Raises", "RuntimeError: two"),
    "senseless": ("broken_backends:Senseless", "TypeError"),
    "object": ("broken_backends:not_a_class", "not a netcore backend"),
    "dict": ("broken_backends:not_a_backend", "not a netcore backend"),
    "syntax": ("broken_syntax:Class", "SyntaxError"),
}


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NETCORE_BACKEND", raising=False)


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs another package with backends, most of them broken."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_backends.py").write_text(BROKEN)
    (tmp_path / "broken_syntax.py").write_text("this is no Python\n")
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    lines = [f"{name} = {path}" for name, (path, _) in BROKEN_NAMES.items()]
    (info / "entry_points.txt").write_text(
        "\n".join(["[netcore.backends]", "good = broken_backends:Good", *lines, ""])
    )


def _table() -> dict[str, dict[str, object]]:
    """The rows of the JSON, by name."""
    return {row["name"]: row for row in json.loads(main.as_json())["backends"]}


def test_the_json_has_every_fact_of_every_backend() -> None:
    table = _table()
    assert list(table) == known_backends()
    for name, row in table.items():
        if row["events"] is None:
            assert row["reason"], f"{name} can be loaded: it has facts"
            continue
        backend = find(name)
        assert row == {
            "name": name,
            "available": name in available_backends(),
            "default": name == available_backends()[0],
            "reason": why_not(name),
            "events": [
                word
                for bit, word in EVENT_NAMES.items()
                if backend.supports & bit and bit != ONESHOT
            ],
            "oneshot": "native" if backend.supports & ONESHOT else "emulated",
            "max_descriptors": backend.max_descriptors,
            "timeout_granularity": backend.timeout_granularity,
            "sockets_only": backend.sockets_only,
            "scalable": backend.scalable,
            "live": getattr(backend, "live", True),
        }


def test_the_text_has_a_line_for_every_backend_and_fits() -> None:
    text = main.as_text()
    assert max(map(len, text.splitlines())) < 100
    for name, row in _table().items():
        _, here, *words = _line(text, name).split()
        assert here == ("default" if row["default"] else "yes" if row["available"] else "no")
        assert str(row["oneshot"] or "?") in words
        assert str(row["max_descriptors"] or ("none" if row["events"] else "?")) in words
        assert not row["reason"] or f"\n{name}: {row['reason']}" in " ".join(text.split("\n  "))


def _line(text: str, name: str) -> str:
    """The row of a backend; there must be exactly one."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
    return line


@pytest.mark.usefixtures("others")
def test_a_broken_backend_has_its_row_and_its_reason() -> None:
    """Another package's mistake takes neither the table nor the good backends down."""
    table, text = _table(), main.as_text()
    for name, (_, reason) in BROKEN_NAMES.items():
        assert reason in str(table[name]["reason"])
        assert _line(text, name)
        assert f"\n{name}: " in text
    assert text.isascii()
    assert table["nomodule"]["events"] is None
    assert table["raises"]["events"] == ["EVENT_READ", "EVENT_WRITE"]
    assert [row["default"] for row in table.values()].count(True) == 1


@pytest.mark.usefixtures("others")
def test_an_installed_backend_has_its_row() -> None:
    row = _table()["good"]
    assert (row["available"], row["max_descriptors"], row["sockets_only"]) == (True, 7, True)
    line = "good yes read write emulated 7 2 us no no sockets"
    assert _line(main.as_text(), "good").split() == line.split()


@pytest.mark.parametrize("name", available_backends())
def test_the_environment_chooses_the_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETCORE_BACKEND", name)
    assert [row["name"] for row in _table().values() if row["default"]] == [name]
    assert f"The default is {name}: NETCORE_BACKEND says so." in main.as_text()


@pytest.mark.usefixtures("others")
def test_a_class_that_the_environment_names_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    path = "broken_backends:Good"
    monkeypatch.setenv("NETCORE_BACKEND", path)
    assert _table()[path]["default"]
    assert main.main(["--json"]) == 0


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize(
    "name", ["nonsense", "no_such_module:Class", "raises", "dict", "object", "syntax"]
)
def test_an_impossible_default_is_explained_and_fails(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table is printed all the same: that is when it is needed most."""
    monkeypatch.setenv("NETCORE_BACKEND", name)
    assert main.main([]) == 1
    text = capsys.readouterr().out
    assert f"There is no default: NETCORE_BACKEND={name}: " in text
    assert all(_line(text, known) for known in known_backends())
    assert main.main(["--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["default"] is None
    assert answer["default_reason"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2, "2 s"), (0.016, "16 ms"), (0.001, "1 ms"), (0.0001, "100 us"), (1e-9, "1 ns")],
)
def test_a_duration_is_told_in_its_unit(seconds: float, text: str) -> None:
    assert main._duration(seconds) == text


def test_it_runs_as_a_module_and_writes_ascii() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for arguments in ([], ["--json"]):
        command = [sys.executable, "-m", "netcore", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert (done.returncode, done.stderr) == (0, "")
        assert "select" in done.stdout
