"""`tierflow argo render` and `lint` say what is wrong and how to mend it, and end with 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from tierflow.commands.argo import app

BASE = Path(__file__).resolve().parents[3] / "argo" / "base"


def run(*arguments):
    return app([str(each) for each in arguments], result_action="return_value", exit_on_error=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    # No program `argo` there: Argo's own check is tested with the cluster.
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert run("render", "--to", tmp_path / "templates") == 0
    return tmp_path / "templates"


def test_a_changed_file_is_shown_with_its_remedy(folder, capsys):
    assert run("render", "--to", folder, "--check") == 0
    page = folder / "tierflow-rescore.yaml"
    page.write_text(page.read_text().replace("onExit: summary", "onExit: sumary"))
    capsys.readouterr()
    assert run("render", "--to", folder, "--check") == 1
    printed = capsys.readouterr().out
    assert "+  onExit: summary" in printed
    assert f"tierflow argo render --to {folder}" in printed


def test_what_is_wrong_is_printed(folder, capsys):
    assert run("lint", folder, "--base", BASE) == 0
    assert "No problem found (the program argo isn't there" in capsys.readouterr().out
    page = folder / "tierflow-rescore.yaml"
    page.write_text(page.read_text().replace("onExit: summary", "onExit: sumary"))
    assert run("lint", page, "--base", BASE) == 1
    assert "WorkflowTemplate tierflow-rescore: onExit is 'sumary'" in capsys.readouterr().out
