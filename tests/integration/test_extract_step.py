"""The step `extract` on a shard of good and bad files."""

from __future__ import annotations

import hashlib
import os
import sys
from types import ModuleType

import numpy as np
import pytest
import tifffile

from tierflow import plugins, tables
from tierflow.config import Config, Extract
from tierflow.config_io import write as write_config
from tierflow.errors import InputMissingError, TableError, TryAgainError
from tierflow.features.base import Measurement
from tierflow.progress import PROGRESS_FOLDER, read_progress
from tierflow.steps import extract


class Mean:
    """A tiny extractor, so that these tests don't wait for compiled kernels."""

    def __init__(self, settings):
        self.settings = settings

    def units(self):
        return {"mean": "count"}

    def measure(self, plane):
        return Measurement({"mean": float(plane.pixels.mean())}, np.ones(256, "uint32"), "hash")


@pytest.fixture(autouse=True)
def _tiny_extractor(monkeypatch):
    monkeypatch.setattr(plugins, "load", lambda kind, name: Mean)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    for i in range(6):
        tifffile.imwrite(root / f"good {i}.tif", np.full((32, 40), i, "uint16"), metadata=None)
    return root


def shard_of(root, names=None):
    names = sorted(os.fsencode(n) for n in (names if names is not None else [p.name for p in root.iterdir()]))
    rows = [
        {
            "object_id": hashlib.sha256(name).hexdigest()[:32],
            "path": name.decode(errors="backslashreplace"),
            "path_bytes": name,
            "bytes": os.lstat(os.fsencode(root) + b"/" + name).st_size,
            "unit_id": name.hex(),
        }
        for name in names
    ]
    return tables.from_rows(rows, tables.SCAN).replace_schema_metadata({"tierflow.input": str(root)})


def measured(root, output, names=None, **settings):
    shard = shard_of(root, names)
    return extract.extract_shard(shard, Extract(**settings), shard="00000", output=output), shard


def test_tables_in_and_out(folder, tmp_path):
    output = tmp_path / "out"
    shard, config, table = (
        output / "scan/shards/00007.parquet",
        output / "config.yaml",
        output / "extract/00007.parquet",
    )
    tables.write(shard, shard_of(folder), input=str(folder))
    write_config(config, Config())
    extract.run(shard=shard, config=config, table=table)
    found = tables.read(table)
    assert found["object_id"].to_pylist() == tables.read(shard)["object_id"].to_pylist()
    assert found["mean"].to_pylist() == [0, 1, 2, 3, 4, 5]
    assert set(found["status"].to_pylist()) == {"ok"}
    assert found["sha256"][0].as_py() == hashlib.sha256((folder / "good 0.tif").read_bytes()).hexdigest()
    assert tables.feature_columns(found.schema) == ["mean"]
    state = read_progress(output / PROGRESS_FOLDER)["extract", "00007"]
    assert (state["done"], state["total"], state["failed"]) == (6, 6, 0)
    extract.run(shard=shard, config=config, table=table)
    assert tables.read(table).drop_columns("histogram").to_pydict() == found.drop_columns("histogram").to_pydict()


def test_bad_files_become_rows_and_harm_no_other(folder, tmp_path):
    good = (folder / "good 5.tif").read_bytes()
    (folder / "a empty.tif").touch()
    (folder / "b text.tif").write_text("no image")
    (folder / "c cut.tif").write_bytes(good[:-50])
    (folder / "d dangling.tif").symlink_to("nowhere")
    (folder / "e circle.tif").symlink_to("e circle.tif")
    os.mkfifo(folder / "f pipe.tif")
    (folder / "g 'quotes\"\nnew line ü.tif").write_bytes(good)
    with open(os.fsencode(folder) + b"/h \xff.tif", "wb") as handle:  # noqa: PTH123
        handle.write(good)
    table, shard = measured(folder, tmp_path / "out")
    assert table["object_id"].to_pylist() == shard["object_id"].to_pylist()
    found = {path[0]: flag for path, flag in zip(shard["path"].to_pylist(), table["flag"].to_pylist(), strict=True)}
    assert found == {
        "a": "empty_file",
        "b": "unsupported",
        "c": "truncated",
        "d": "missing",
        "e": "missing",
        "f": "unreadable",
        "g": None,
        "h": None,
    }
    failed = [row for row in table.to_pylist() if row["status"] == "failed"]
    assert all(row["plane"] == -1 and row["reason"] and row["mean"] is None for row in failed)
    assert read_progress(tmp_path / "out" / PROGRESS_FOLDER)["extract", "00000"]["failed"] == 6


def test_rows_of_many_pieces_keep_their_order(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(extract, "ROWS_PER_PIECE", 4)
    tifffile.imwrite(
        folder / "a stack.tif", np.arange(5, dtype="uint8")[:, None, None] + np.zeros((1, 9, 9), "uint8"), metadata=None
    )
    table, _ = measured(folder, tmp_path / "out")
    assert table["plane"].to_pylist() == [0, 1, 2, 3, 4, *[0] * 6]
    assert table["mean"].to_pylist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5]


def test_what_is_there_now_is_measured(folder, tmp_path):
    shard = shard_of(folder)
    tifffile.imwrite(folder / "good 3.tif", np.full((64, 64), 9, "uint16"), metadata=None)
    table = extract.extract_shard(shard, Extract(), shard="00000", output=tmp_path / "out")
    row = table.to_pylist()[3]
    assert (row["mean"], row["bytes"], row["bytes"] != shard["bytes"][3].as_py()) == (
        9,
        (folder / "good 3.tif").stat().st_size,
        True,
    )


def test_an_empty_shard(folder, tmp_path):
    table, _ = measured(folder, tmp_path / "out", names=[])
    assert table.num_rows == 0
    assert tables.feature_columns(table.schema) == ["mean"]


def test_files_that_a_former_run_moved_are_found_by_the_journal(folder, tmp_path, monkeypatch):
    shard = shard_of(folder)
    moved, gone = folder / "good 2.tif", folder / "good 4.tif"
    target = moved.rename(tmp_path / "elsewhere.tif")
    gone.unlink()
    asked = []

    def current_path(output, shard, object_id):
        asked.append((output, shard, object_id))
        return target if object_id == ids[2] else None

    ids = shard["object_id"].to_pylist()
    whereabouts = ModuleType("tierflow.tiers.whereabouts")
    whereabouts.current_path = current_path
    monkeypatch.setitem(sys.modules, "tierflow.tiers.whereabouts", whereabouts)
    table = extract.extract_shard(shard, Extract(), shard="00000", output=tmp_path / "out")
    assert table["mean"].to_pylist() == [0, 1, 2, 3, None, 5]
    assert table["flag"].to_pylist() == [None, None, None, None, "missing", None]
    assert asked == [(tmp_path / "out", "00000", ids[2]), (tmp_path / "out", "00000", ids[4])]


def test_an_input_folder_that_is_not_there_is_not_an_object_failure(folder, tmp_path):
    shard = shard_of(folder)
    folder.rename(tmp_path / "renamed")
    with pytest.raises(InputMissingError, match="isn't there: mount it"):
        extract.extract_shard(shard, Extract(), shard="00000", output=tmp_path / "out")


def test_an_input_folder_that_goes_away_during_the_run_is_tried_again(folder, tmp_path, monkeypatch):
    shard = shard_of(folder)

    class Thief(Mean):
        def measure(self, plane):
            if folder.exists():
                folder.rename(tmp_path / "renamed")
            return super().measure(plane)

    monkeypatch.setattr(plugins, "load", lambda kind, name: Thief)
    with pytest.raises(TryAgainError, match="went away"):
        # Nothing is read ahead but the next file.
        extract.extract_shard(shard, _nothing_ahead(), shard="00000", output=tmp_path / "out")


def _nothing_ahead():
    return Extract().model_copy(update={"read_ahead_mb": 0.001})


def test_a_shard_without_stamp(folder, tmp_path):
    shard = shard_of(folder).replace_schema_metadata({})
    with pytest.raises(TableError, match="run the step scan again"):
        extract.extract_shard(shard, Extract(), shard="00000", output=tmp_path / "out")


def test_files_above_the_read_ahead_are_not_held(folder, tmp_path):
    held, _ = measured(folder, tmp_path / "out")
    settings = Extract().model_copy(update={"read_ahead_mb": 0})
    unheld = extract.extract_shard(shard_of(folder), settings, shard="00000", output=tmp_path / "out")
    assert unheld.equals(held)
