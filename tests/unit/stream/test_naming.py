"""Names read one by one give in the end what a scan of the whole folder gives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tifffile

from tierflow.config import Config
from tierflow.io.identity import display_path, object_id
from tierflow.scan.naming import read_names
from tierflow.steps import scan as scan_step
from tierflow.stream.ledger import Ledger
from tierflow.stream.naming import StreamNames

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "plate"


def add(ledger: Ledger, paths, *, root: Path | None = None) -> None:
    with ledger.transaction() as db:
        for path in paths:
            raw = os.fsencode(path)
            size, mtime_ns = 1, 1
            if root is not None:
                state = (root / path).stat()
                size, mtime_ns = state.st_size, state.st_mtime_ns
            db.execute(
                "INSERT INTO objects (path, folder, object_id, state, size, mtime_ns, inode, seen_at, changed_at) "
                "VALUES (?, ?, ?, 'seen', ?, ?, 1, 0, 0)",
                (raw, raw.rpartition(b"/")[0], object_id("d", raw), size, mtime_ns),
            )


def config_of(root: Path, **scan) -> Config:
    return Config.model_validate({"input": str(root), "dataset": "d", "scan": scan})


def one_by_one(tmp_path: Path, paths, config: Config, root: Path):
    """Return what was read of each name when it came, and what is read of all in the end."""
    ledger = Ledger(tmp_path / "output")
    names = StreamNames(ledger, config, root)
    at_first = {}
    for path in paths:
        add(ledger, [path])
        at_first[path] = names.names(ledger.rows("path = ?", (os.fsencode(path),)))[0]
    rows = ledger.rows("1 ORDER BY path")
    return at_first, {os.fsdecode(row.path): found for row, found in zip(rows, names.names(rows), strict=True)}


def batch(paths, config: Config):
    ordered = sorted(paths, key=os.fsencode)
    naming = read_names([display_path(os.fsencode(path)) for path in ordered], config.scan, lambda _: {})
    return dict(zip(ordered, zip(naming.names, naming.layouts, strict=True), strict=True))


def images(root: Path) -> list[str]:
    endings = (".tif", ".tiff", ".png", ".jpg")
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.suffix.lower() in endings)


def test_the_example_plate_one_by_one(tmp_path):
    config, paths = config_of(EXAMPLES), images(EXAMPLES)
    at_first, finally_read = one_by_one(tmp_path, paths, config, EXAMPLES)
    assert len(paths) > 5
    assert finally_read == batch(paths, config) == at_first


@pytest.mark.shared
@pytest.mark.parametrize(
    "dataset",
    [
        "bbbc006_miq",
        "cellprofiler_human",
        "em_sstem_vnc",
        "imagexpress_faim",
        "imagexpress_multisite_embl",
        "ome_tiff_plate_embl",
        "smear_sharpness",
        "transfluor_screen",
    ],
)
def test_every_real_data_set_one_by_one(shared_images, tmp_path, dataset):
    root = shared_images / dataset
    config, paths = config_of(root), images(root)
    at_first, finally_read = one_by_one(tmp_path, paths, config, root)
    assert finally_read == batch(paths, config)
    # Names of one instrument look alike: the first one tells as much as all.
    assert at_first == finally_read


def test_a_mixed_folder_is_judged_again_when_its_names_have_doubled(tmp_path):
    """The first names fit nothing; once those that fit are a quarter of the folder, their layout is chosen."""
    paths = [f"notes_{i}.tif" for i in range(4)] + [f"P7_B03_T0001F{i:03d}L01A01Z01C01.tif" for i in range(1, 61)]
    config = config_of(tmp_path)
    at_first, finally_read = one_by_one(tmp_path, paths, config, tmp_path)
    assert at_first[paths[0]][1] == "generic"
    assert finally_read == batch(paths, config)
    assert finally_read[paths[-1]][1] == "yokogawa" == at_first[paths[-1]][1]


def test_folders_are_judged_each_by_itself(tmp_path):
    config = config_of(tmp_path)
    paths = ["a/P7_B03_s1_w1.TIF", "b/AS_1_D03f00d1.tif", "c/photo.jpg", "a/P7_B03_s2_w1.TIF"]
    _, finally_read = one_by_one(tmp_path, paths, config, tmp_path)
    assert finally_read == batch(paths, config)
    assert finally_read["c/photo.jpg"][1] == "generic"


def test_a_pattern_of_the_configuration_holds_from_the_first_name(tmp_path):
    config = config_of(tmp_path, layout="regex", pattern=r"(?P<well>[A-P][0-9]{2})-(?P<channel>\w+)\.tif")
    at_first, _ = one_by_one(tmp_path, ["x-B03-dapi.tif", "y.tif"], config, tmp_path)
    assert (at_first["x-B03-dapi.tif"][0].well, at_first["x-B03-dapi.tif"][1]) == ("B03", "regex")
    assert at_first["y.tif"][1] == "generic"


@pytest.mark.shared
@pytest.mark.parametrize(
    ("dataset", "scan"),
    [
        ("transfluor_screen", {"unit": "well"}),
        ("imagexpress_faim", {"unit": "site"}),
        ("ome_tiff_plate_embl", {"unit": "site", "layout": "ome_tiff"}),
        ("cellprofiler_human", {"read_headers": True}),
    ],
)
def test_scan_rows_equal_those_of_a_scan(shared_images, tmp_path, dataset, scan):
    from tierflow.scan import store

    root = shared_images / dataset
    config = config_of(root, **scan)
    (tmp_path / "config.yaml").write_text(config.model_dump_json(), encoding="utf-8")
    scan_step.run(summary=tmp_path / "scan" / "summary.json", config=tmp_path / "config.yaml")
    scanned = store.load(tmp_path / "scan" / "shards").rows
    ledger = Ledger(tmp_path / "output")
    add(ledger, [os.fsdecode(path) for path in scanned], root=root)
    rows = StreamNames(ledger, config, root).scan_rows(ledger.rows("1"))
    assert {row.path_bytes: row for row in rows} == scanned
    assert len({row.unit_id for row in rows}) == len({row.unit_id for row in scanned.values()})


def test_the_unit_of_the_ledger_holds(tmp_path):
    ledger = Ledger(tmp_path / "output")
    add(ledger, ["P7_B03_s1_w1.TIF"])
    names = StreamNames(ledger, config_of(tmp_path, unit="site"), tmp_path)
    row = ledger.rows("1")[0]._replace(unit="f" * 32)
    assert names.scan_rows([row])[0].unit_id == "f" * 32


def test_a_header_is_read_once_for_the_same_content(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", [[1, 2], [3, 4]])
    opened = []
    monkeypatch.setattr("tierflow.stream.naming.read_header", lambda path: opened.append(path) or {})
    ledger = Ledger(tmp_path / "output")
    add(ledger, ["a.tif"], root=tmp_path)
    names = StreamNames(ledger, config_of(tmp_path, read_headers=True), tmp_path)
    rows = ledger.rows("1")
    names.names(rows)
    names.scan_rows(rows)
    assert len(opened) == 1
    names.names([rows[0]._replace(size=99)])
    assert len(opened) == 2


def test_names_that_are_no_text_are_read_as_a_scan_reads_them(tmp_path):
    ledger = Ledger(tmp_path / "output")
    raw = os.fsdecode(b"plate\xff/P7_B03_s1_w1.TIF")
    add(ledger, [raw])
    row = StreamNames(ledger, config_of(tmp_path), tmp_path).scan_rows(ledger.rows("1"))[0]
    assert (row.path, row.well) == ("plate\\xff/P7_B03_s1_w1.TIF", "B03")
