"""Argo's own check and ours agree on what is rendered; each finds what the other can't."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tierflow.argo import render
from tierflow.argo.lint import problems, run_argo

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@pytest.fixture
def argo(cluster, monkeypatch):
    """The cluster's `argo`, found by its name."""
    monkeypatch.setenv("PATH", cluster.env["PATH"])


@pytest.fixture
def folder(tmp_path) -> Path:
    render.write(tmp_path)
    return tmp_path


def damage(folder, change):
    path = folder / "tierflow-batch.yaml"
    tree = yaml.load(path.read_text(), Loader=LOADER)
    change({template["name"]: template for template in tree["spec"]["templates"]})
    path.write_text(yaml.safe_dump(tree))


def test_what_is_rendered_passes_both(argo, folder):
    assert run_argo([folder]) == ""
    assert problems([folder]) == []


def test_both_find_a_cycle(argo, folder):
    damage(folder, lambda templates: templates["main"]["dag"]["tasks"][0].update(depends="report"))
    assert "cycle" in run_argo([folder])
    assert any("wait for each other" in problem for problem in problems([folder]))


def test_only_ours_finds(argo, folder):
    def change(templates):
        templates["score"]["container"].pop("command")
        templates["report"]["container"].pop("resources")
        templates["main"]["dag"]["tasks"][4].update(when="1 > 2")
        templates["extract"]["container"]["volumeMounts"][0].update(name="imgs")

    damage(folder, change)
    assert run_argo([folder]) == ""
    found = problems([folder])
    for words in ("command is missing", "resources.requests.cpu", "give it valueFrom.default", "'imgs'"):
        assert any(words in problem for problem in found), words
