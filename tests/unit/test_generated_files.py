"""Generated files say what the models say; a difference is printed with the command that mends it."""

from __future__ import annotations

from pathlib import Path

from tierflow.config import Config
from tierflow.config_io import load
from tierflow.render.docs import main

ROOT = Path(__file__).resolve().parents[2]


def test_generated_files_are_up_to_date(capsys):
    assert main(ROOT, check=True) == 0, capsys.readouterr().out


def test_the_default_configuration_is_the_default():
    assert load(ROOT / "config" / "default.yaml") == Config()


def test_a_stale_file_is_shown_with_its_remedy(tmp_path, capsys):
    assert main(tmp_path, check=False) == 0
    page = tmp_path / "config" / "default.yaml"
    page.write_text(page.read_text().replace("shard_mb", "shard_gb"))
    assert main(tmp_path, check=True) == 1
    printed = capsys.readouterr().out
    assert "+  shard_mb" in printed
    assert "scripts/render" in printed
