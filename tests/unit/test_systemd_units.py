"""The units of `deploy/systemd`: systemd takes them, and the command line takes what they start."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tierflow.cli import build_app
from tierflow.errors import EXIT_CONFIG

UNITS = sorted((Path(__file__).resolve().parents[2] / "deploy" / "systemd").glob("*.service"))
PROGRAM = "/opt/tierflow/bin/tierflow"


def value(unit: Path, key: str) -> str:
    [found] = re.findall(rf"^{key}=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    return found


def test_there_are_two():
    assert [unit.name for unit in UNITS] == ["tierflow-serve@.service", "tierflow-watch@.service"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_they_start_commands_that_there_are(unit):
    program, *arguments = shlex.split(value(unit, "ExecStart"))
    assert program == PROGRAM
    _, bound, *_ = build_app().parse_args(arguments, exit_on_error=False, print_error=False)
    assert bound.arguments


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_wrong_configuration_is_not_tried_again(unit):
    assert value(unit, "RestartPreventExitStatus") == str(EXIT_CONFIG)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_them(unit, tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze isn't installed")
    copy = tmp_path / unit.name.replace("@", "@plate")
    # The program must be there, and the user.
    text = unit.read_text(encoding="utf-8").replace(PROGRAM, sys.executable).replace("User=tierflow", "User=root")
    copy.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--generators=no", "--recursive-errors=no", str(copy)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = [line for line in done.stderr.splitlines() if unit.name.split("@")[0] in line]
    assert not said
    assert done.returncode == 0, done.stderr
