"""Levels of processors, and machine code that lies ready."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tierflow.features import processor

V3 = dict.fromkeys(
    ("avx", "avx2", "bmi", "bmi2", "cx16", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sse4.2", "xsave"), True
)


@pytest.mark.parametrize(
    ("machine", "features", "expected"),
    [
        ("x86_64", V3 | {"avx512f": True}, ["x86-64-v3", "x86-64"]),
        ("x86_64", V3 | {"fma": False}, ["x86-64"]),
        ("x86_64", {}, ["x86-64"]),
        ("aarch64", {"neon": True}, ["generic"]),
        ("riscv64", {}, []),
    ],
)
def test_levels(machine, features, expected):
    assert processor.levels(machine, features) == expected


def prepared(ready, **environment: str) -> dict[str, str]:
    """Return numba's variables in a new process after `prepare`, and the files in the folder of machine code."""
    code = (
        "import os, sys, pathlib; from tierflow.features import processor;"
        "processor.prepare(pathlib.Path(sys.argv[1]));"
        "folder = pathlib.Path(os.environ.get('NUMBA_CACHE_DIR', '/nowhere'));"
        "print([(k, v) for k, v in os.environ.items() if k.startswith('NUMBA_')]);"
        "print([(f.name, f.read_text()) for f in sorted(folder.rglob('*.nb?'))])"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(ready)], env=clean | environment, capture_output=True, text=True, check=True
    )
    variables, files = (eval(line) for line in done.stdout.splitlines())
    return dict(variables) | {"files": files}


@pytest.fixture
def ready(tmp_path):
    for level in ("x86-64-v3", "x86-64", "generic"):
        folder = tmp_path / "ready" / level / "features_1"
        folder.mkdir(parents=True)
        (folder / "f.nbi").write_text(level)
    return tmp_path / "ready"


def test_ready_code_is_laid_out_for_one_process_and_removed_at_its_end(ready, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    found = prepared(ready, TMPDIR=str(scratch))
    best = processor.levels_here()[0]
    assert found["NUMBA_CPU_NAME"] == best
    assert found["NUMBA_CPU_FEATURES"] == ""
    assert found["files"] == [("f.nbi", best)]
    assert found["NUMBA_CACHE_DIR"].startswith(str(scratch))
    assert list(scratch.iterdir()) == []


def test_what_the_user_set_stays(ready, tmp_path):
    found = prepared(ready, NUMBA_CPU_NAME="host-of-mine", NUMBA_CACHE_DIR=str(tmp_path / "mine"))
    assert found == {"NUMBA_CPU_NAME": "host-of-mine", "NUMBA_CACHE_DIR": str(tmp_path / "mine"), "files": []}


def test_without_room_for_links_code_is_compiled(ready, tmp_path):
    code = (
        "import os, sys, pathlib, tempfile; from tierflow.features import processor;"
        "tempfile.tempdir = '/proc/no-such-place';"
        "processor.prepare(pathlib.Path(sys.argv[1])); print('NUMBA_CACHE_DIR' in os.environ)"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(ready)], env=clean, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_nothing_changes_once_numba_is_imported(ready, monkeypatch):
    import numba  # noqa: F401

    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.delenv("NUMBA_CPU_NAME", raising=False)
    processor.prepare(ready)
    assert "NUMBA_CACHE_DIR" not in os.environ
    assert "NUMBA_CPU_NAME" not in os.environ
