"""What a stream says of files that are no objects because of how they are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tierflow import config_io
from tierflow.cli import run_cli
from tierflow.io.selection import NOT_IMAGE
from tierflow.stream.ledger import Ledger
from tierflow.stream.left_out import MOST, NO_ENDING, OTHERS, LeftOut, left_out_words
from tierflow.stream.rescan import Look, Rescan
from tierflow.stream.sightings import Sightings


def counted(*paths: str, stream: dict[str, Any] | None = None) -> dict[str, int]:
    """Count files, all of them not named like an image."""
    found = LeftOut(config_io.validate({"stream": stream or {}}))
    for path in paths:
        found.skip(NOT_IMAGE, path)
    return found.counts()


def look(tmp_path: Path, names: list[str], **tree: Any) -> tuple[Look, list[str]]:
    """Look at a folder with these files; return what was found, and what was taken."""
    root = tmp_path / "in"
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"1")
    config = config_io.validate({"input": str(root), **tree})
    ledger = Ledger(tmp_path / "out")
    sightings = Sightings(ledger, dataset=config.dataset_name)
    rescan = Rescan(root, config, tmp_path / "out", sightings=sightings, healthy=lambda: True)
    first, second = rescan.full(), rescan.full()
    assert first.left_out == second.left_out
    assert rescan.quick().left_out == {}
    taken = [path.decode() for (path,) in ledger.query("SELECT path FROM objects ORDER BY path")]
    ledger.close()
    return second, taken


def test_files_of_other_formats_are_counted_in_all_folders(tmp_path: Path) -> None:
    names = ["a.czi", "x/b.CZI", "x/y/c.czi", "d.lif", "e.tif", "note", "ome.zarr/0/0"]
    found, taken = look(tmp_path, names)
    assert found.left_out == {".czi": 3, ".lif": 1, ".zarr": 1, NO_ENDING: 1}
    assert (found.files, taken) == (1, ["e.tif"])


def test_what_rightly_is_no_object_does_not_alarm(tmp_path: Path) -> None:
    names = [".hidden.czi", ".part/a.czi", "a.tif.done", "p.HTD", "Index.idx.xml", "s.companion.ome", "a_thumb.tif"]
    names += ["skip/a.foo", "notes.txt"]
    tree = {"stream": {"complete": {"sentinel": "{name}.done"}}, "scan": {"exclude": ["skip"]}}
    assert look(tmp_path, names, **tree)[0].left_out == {}


def test_what_include_leaves_out_is_counted_but_for_side_files(tmp_path: Path) -> None:
    names = ["a.tif", "b.png", "c.png", "d.txt", "e.czi", "f_thumb.png"]
    found, taken = look(tmp_path, names, scan={"include": ["*.tif"]})
    assert (found.left_out, taken) == ({".png": 2, ".czi": 1}, ["a.tif"])


@pytest.mark.parametrize(
    ("sentinel", "name"),
    [
        ("{stem}.fin", "image.fin"),
        ("{name}.fin", "image.tif.fin"),
        ("finished.ok", "finished.ok"),
        ("{stem}", "image"),
    ],
)
def test_sentinels_of_all_forms(sentinel: str, name: str) -> None:
    assert counted(f"x/{name}", "x/other.foo", stream={"complete": {"sentinel": sentinel}}) == {".foo": 1}


def test_whatever_files_are_called_little_is_kept() -> None:
    """A folder of `run.1`, `run.2`, ... and names with words after their dot."""
    found = LeftOut(config_io.validate({}))
    for number in range(3000):
        found.skip(NOT_IMAGE, f"run.{number:05d}")
    for _ in range(7):
        found.skip(NOT_IMAGE, "Image 3.2 of\x1b[31m \u202ethe day")
    found.skip(NOT_IMAGE, "rare.00001")
    counts = found.counts()
    assert len(counts) == MOST + 1
    assert next(iter(counts)) == ".00001"
    assert sum(counts.values()) == 3008
    assert counts[OTHERS] == 3008 - 2 - (MOST - 1)
    assert len(found._counts) <= 501


@pytest.mark.parametrize(
    ("counts", "included", "words"),
    [
        ({}, False, ""),
        (
            {".czi": 100},
            True,
            "100 .czi files were left out: tierflow doesn't read this format; export them as OME-TIFF to have them "
            "measured",
        ),
        (
            {".foo": 2, NO_ENDING: 1},
            False,
            "2 .foo, 1 files without an ending were left out: not named like an image; images of a format that "
            "tierflow reads need their usual ending, such as .tif",
        ),
        (
            {".png": 2},
            True,
            "2 .png files were left out: not matched by scan.include; name them there (--include) to have them "
            "measured",
        ),
        ({".zarr": 1}, False, "1 .zarr folders were left out: tierflow doesn't read OME-Zarr yet"),
    ],
)
def test_the_words_say_what_to_do(counts: dict[str, int], included: bool, words: str) -> None:
    assert left_out_words(counts, included=included) == words


def test_the_status_says_it_to_people_and_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = {".czi": 100}
    ledger = Ledger(tmp_path)
    ledger.note(watcher={"state": "ok", "left_out": counts, "left_out_message": left_out_words(counts, included=False)})
    ledger.close()
    assert run_cli(["status", str(tmp_path)]) == 0
    assert "100 .czi files were left out: tierflow doesn't read" in " ".join(capsys.readouterr().out.split())
    assert run_cli(["status", str(tmp_path), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["watcher"]["left_out"] == counts
