"""`tierflow fetch` and `tierflow search --open`, as a user calls them."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from searched_files import Searched

from tierflow.cli import run_cli
from tierflow.report.text import printable

HOSTILE = 'a/"><script>alert(1)<\\script>\n.tif'


@pytest.fixture
def searched(tmp_path):
    made = Searched(tmp_path)
    for name, tier in (("x.tif", "A"), (HOSTILE, "A"), ("broken.tif", "quarantine")):
        path = made.input / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, np.random.default_rng(0).integers(0, 999, (64, 80)).astype(np.uint16))
        made.add(name, path.read_bytes(), tier=tier, planes=1, height=64, width=80, samples=1, dtype="uint16", snr=5.0)
    made.rows[2] |= {"status": "failed", "reason": "cut off", "sha256": "0" * 64}
    made.write()
    return made


@pytest.fixture(autouse=True)
def _no_screen(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)


def test_fetch_copies_and_tells(searched, tmp_path, capfd):
    assert run_cli(["fetch", "tier:A", "--from", str(searched.output), "--to", str(tmp_path / "to")]) == 0
    out = capfd.readouterr().out
    assert "copied: 2 files" in out
    assert f"list of all files: {tmp_path / 'to' / 'manifest.csv'}" in out
    assert (tmp_path / "to" / HOSTILE).is_file()


def test_fetch_ends_with_70_when_a_file_is_not_right(searched, tmp_path, capfd):
    assert run_cli(["fetch", "--from", str(searched.output), "--to", str(tmp_path / "to")]) == 70
    out = capfd.readouterr().out
    assert "copied: 2 files" in out
    assert "changed: 1 files" in out
    assert "broken.tif changed since it was measured" in out


def test_fetch_dry_run_links_limit_and_sort(searched, tmp_path, capfd):
    common = ["fetch", "tier:A", "--from", str(searched.output), "--to", str(tmp_path / "to"), "--sort", "-path"]
    assert run_cli([*common, "--limit", "1", "--dry-run"]) == 0
    assert capfd.readouterr().out.startswith("would copy: 1 files")
    assert not (tmp_path / "to").exists()
    assert run_cli([*common, "--limit", "1", "--link"]) == 0
    assert (tmp_path / "to" / "x.tif").is_symlink()
    assert run_cli(["fetch", "tier:Z", "--from", str(searched.output), "--to", str(tmp_path / "none")]) == 0
    assert "nothing to fetch" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fetch", "--from", "s3://x", "--to", "y"], 78, "'s3://x' can't be searched"),
        (["search", "--from", "nowhere"], 66, "nowhere is no folder"),
        (["facets", "tier", "--from", ""], 78, "'' can't be searched"),
        (["fetch", "--from", "OUT", "--to", "OUT/../input/x"], 78, "choose a folder outside"),
        (["fetch", "--from", "OUT", "--to", "y", "--limit", "0"], 78, "limit 0"),
        (["search", "--from", "OUT", "--to", "y"], 78, "--to goes with --open"),
        (["search", "tier:Z", "--from", "OUT", "--open", "report"], 66, "nothing found for 'tier:Z'"),
        (["search", "--from", "OUT", "--open", "napari"], 78, "pip install 'napari[all]'"),
    ],
)
def test_what_is_wrong_is_named(searched, capfd, arguments, code, message):
    given = [text.replace("OUT", str(searched.output)) for text in arguments]
    assert run_cli(given) == code
    assert message in capfd.readouterr().err


def test_open_report_writes_a_page_with_pictures(searched, tmp_path, capfd):
    arguments = ["search", "--from", str(searched.output), "--open", "report", "--to", str(tmp_path / "page")]
    assert run_cli(arguments) == 0
    page = tmp_path / "page" / "found.html"
    assert f"3 objects in {page}: open it in a browser" in capfd.readouterr().out
    html = page.read_text()
    assert len(re.findall(r'<img [^>]*src="data:image/webp', html)) == 3
    assert "<script>alert" not in html
    assert "cut off" in html
    assert printable(HOSTILE.rpartition("/")[2]).replace('"', "&#34;").replace(">", "&gt;").replace("<", "&lt;") in html


def test_open_report_shows_the_first_of_many(searched, tmp_path, capfd):
    common = ["search", "tier:A", "--from", str(searched.output), "--open", "report", "--limit", "1"]
    assert run_cli([*common, "--to", str(tmp_path)]) == 0
    assert "1 of 2 objects (--limit for more)" in capfd.readouterr().out
    assert "2 found, the first 1 shown" in (tmp_path / "found.html").read_text()


def test_open_report_goes_to_the_browser_where_there_is_a_screen(searched, tmp_path, capfd, monkeypatch):
    opened = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    assert run_cli(["search", "--from", str(searched.output), "--open", "report", "--to", str(tmp_path / "a b")]) == 0
    assert opened == [(tmp_path / "a b" / "found.html").as_uri()]
    assert capfd.readouterr().out.startswith("opened ")


def test_open_folder_makes_links(searched, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run_cli(["search", "tier:A", "--from", str(searched.output), "--open", "folder"]) == 0
    told = re.fullmatch(r"2 objects as links in (.*)\n", capfd.readouterr().out)
    assert told is not None
    assert (Path(told[1]) / HOSTILE).readlink() == searched.input / HOSTILE


def test_open_folder_shows_it_where_there_is_a_screen(searched, tmp_path, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    started = []
    monkeypatch.setattr("tierflow.opening._start", started.append)
    monkeypatch.setattr("shutil.which", lambda name: f"/programs/{name}")
    where = tmp_path / "links"
    assert run_cli(["search", "--from", str(searched.output), "--open", "folder", "--to", str(where)]) == 0
    assert started == [["/programs/xdg-open", str(where)]]


def test_open_napari_starts_it_with_the_files(searched, tmp_path, capfd, monkeypatch):
    package = tmp_path / "site" / "napari"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(package.parent)
    arguments = ["search", "tier:A", "--from", str(searched.output), "--open", "napari", "--sort", "-path"]
    assert run_cli(arguments) == 78
    assert "needs a screen" in capfd.readouterr().err
    started = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("tierflow.opening._start", started.append)
    assert run_cli(arguments) == 0
    files = [str(searched.input / "x.tif"), str(searched.input / HOSTILE)]
    assert started == [[sys.executable, "-m", "napari", *files]]
    assert capfd.readouterr().out == "napari opens 2 objects\n"
    assert run_cli([*arguments, "--to", "x"]) == 78
