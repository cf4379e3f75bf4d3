import csv
import errno
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from searched_files import Searched

from tierflow.catalogue import bring
from tierflow.catalogue.fetch import fetch, wanted
from tierflow.catalogue.manifest import COLUMNS
from tierflow.catalogue.open import open_catalogue
from tierflow.catalogue.query import Query, Sort
from tierflow.errors import ConfigError, TryAgainError

ODD = [
    b"plain/a.tif",
    b"with space/and 'quotes' \"double\".tif",
    b"with\nnewline/and\ttab.tif",
    "größe/日本語_🔬.tif".encode(),
    b"caf\xe9/\xff\xfe.tif",
    b"-rf",
    b"with,comma;semicolon.tif",
    b"[x] *?.tif",
    b"=1+1.tif",
]


@pytest.fixture
def searched(tmp_path):
    return Searched(tmp_path)


BY_PATH = (Sort("path"),)


def files_of(output, sort=BY_PATH, limit=None):
    return wanted(open_catalogue(output), Query(sort=sort, limit=limit))


def manifest(folder):
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def content(folder):
    return {
        os.fsencode(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.csv"
    }


def test_odd_names_keep_their_bytes(searched, tmp_path):
    for number, name in enumerate(ODD):
        searched.add(name, b"pixels %d" % number)
    target = tmp_path / "to here"
    report = fetch(files_of(searched.write()), target)
    assert content(target) == {name: b"pixels %d" % number for number, name in enumerate(ODD)}
    assert report.count("copied") == len(ODD)
    assert report.bad == []
    rows = manifest(target)
    assert tuple(rows[0]) == COLUMNS
    assert {row["path"] for row in rows} == {row["path"] for row in searched.rows}
    assert {row["sha256"] for row in rows} == {row["sha256"] for row in searched.rows}
    assert {row["bytes"] for row in rows} == {"8"}


def test_the_order_and_limit_of_the_search_decide(searched, tmp_path):
    for number in range(5):
        searched.add(f"{number}.tif", bytes([number]), interestingness=number / 10)
    best = files_of(searched.write(), sort=(Sort("interestingness", descending=True),), limit=2)
    fetch(best, tmp_path / "to")
    assert set(content(tmp_path / "to")) == {b"4.tif", b"3.tif"}


def test_a_second_call_copies_nothing(searched, tmp_path):
    searched.add("a/x.tif")
    searched.add("b/y.tif", b"other")
    files, target = files_of(searched.write()), tmp_path / "to"
    fetch(files, target)
    before = {path: path.stat().st_ino for path in target.rglob("*.tif")}
    again = fetch(files, target)
    assert again.count("there") == 2
    assert {path: path.stat().st_ino for path in target.rglob("*.tif")} == before
    assert [row["status"] for row in manifest(target)] == ["there", "there"]


def test_it_goes_on_after_the_sources_are_gone(searched, tmp_path):
    searched.add("x.tif")
    files, target = files_of(searched.write()), tmp_path / "to"
    fetch(files, target)
    shutil.rmtree(searched.input)
    assert fetch(files, target).count("there") == 1


@pytest.mark.parametrize("theirs", [b"somebody else's", b"not ours!"], ids=["other size", "same size"])
def test_nothing_in_the_folder_is_overwritten(searched, tmp_path, theirs):
    searched.add("x.tif", b"the run's")
    target = tmp_path / "to"
    target.mkdir()
    (target / "x.tif").write_bytes(theirs)
    report = fetch(files_of(searched.write()), target)
    assert content(target) == {b"x.tif": theirs, b"first/x.tif": b"the run's"}
    assert report.entries[0].path == b"first/x.tif"
    assert fetch(files_of(searched.output), target).count("there") == 1


def test_runs_with_the_same_names_stay_apart(searched, tmp_path):
    searched.add("x.tif", b"of the first")
    searched.add("x.tif", b"of the second", run="second/ run", at=tmp_path / "elsewhere" / "x.tif")
    searched.add("x.tif", b"of the first", run="third", at=tmp_path / "third" / "x.tif")
    report = fetch(files_of(searched.write(), sort=(Sort("run"),)), tmp_path / "to")
    assert content(tmp_path / "to") == {b"x.tif": b"of the first", b"second_run/x.tif": b"of the second"}
    assert [(e.run, e.path, e.status) for e in report.entries] == [
        ("first", b"x.tif", "copied"),
        ("second/ run", b"second_run/x.tif", "copied"),
        ("third", b"x.tif", "there"),
    ]


def test_a_file_where_another_run_has_a_folder(searched, tmp_path):
    searched.add("x", b"a file")
    searched.add("x/y.tif", b"below", run="second", at=tmp_path / "elsewhere" / "y.tif")
    fetch(files_of(searched.write()), tmp_path / "to")
    assert content(tmp_path / "to") == {b"x": b"a file", b"second/x/y.tif": b"below"}


def test_an_object_with_the_manifests_name(searched, tmp_path):
    searched.add("manifest.csv", b"an image, really")
    fetch(files_of(searched.write()), tmp_path / "to")
    assert (tmp_path / "to" / "first" / "manifest.csv").read_bytes() == b"an image, really"
    assert manifest(tmp_path / "to")[0]["path"] == "first/manifest.csv"


def test_trouble_with_one_file_stops_no_other(searched, tmp_path):
    searched.add("1 gone.tif", None)
    searched.add("2 changed.tif", b"now", sha256="0" * 64)
    searched.add("3 fine.tif", b"fine")
    searched.add(b"../4 outside.tif", b"evil", at=tmp_path / "evil.tif")
    searched.add("5 folder.tif", None, sha256=None)
    (searched.input / "5 folder.tif").mkdir()
    target = tmp_path / "to"
    report = fetch(files_of(searched.write()), target)
    assert content(target) == {b"3 fine.tif": b"fine"}
    found = {row["source"].rpartition("/")[2]: (row["status"], row["path"]) for row in manifest(target)}
    assert found == {
        "1 gone.tif": ("missing", ""),
        "2 changed.tif": ("changed", ""),
        "3 fine.tif": ("copied", "3 fine.tif"),
        "evil.tif": ("failed", ""),
        "5 folder.tif": ("failed", ""),
    }
    assert len(report.bad) == 4
    problems = " ".join(row["problem"] for row in manifest(target))
    assert "isn't there: mount its share" in problems
    assert "changed since it was measured" in problems
    assert "leads out of the folder" in problems


def test_links(searched, tmp_path):
    source = searched.add("a/x.tif")
    searched.add("changed.tif", sha256="0" * 64)
    files, target = files_of(searched.write()), tmp_path / "to"
    report = fetch(files, target, how="link")
    assert (target / "a" / "x.tif").readlink() == source
    assert not (target / "changed.tif").exists()
    assert [entry.status for entry in report.entries] == ["linked", "changed"]
    assert fetch(files, target, how="link").count("there") == 1
    [found, _] = fetch(files, target).entries
    assert found.status == "failed"
    assert "is a link" in found.problem


def test_links_without_verification_read_nothing(searched, tmp_path):
    searched.add("changed.tif", sha256="0" * 64)
    assert fetch(files_of(searched.write()), tmp_path / "to", how="link", verify=False).count("linked") == 1


def test_a_dry_run_tells_the_same_and_writes_nothing(searched, tmp_path):
    searched.add("x.tif", b"one")
    searched.add("x.tif", b"two", run="second", at=tmp_path / "elsewhere" / "x.tif")
    searched.add("x.tif/y.tif", b"below", run="third", at=tmp_path / "third" / "y.tif")
    searched.add("z.tif", None)
    files, target = files_of(searched.write(), sort=(Sort("path"), Sort("run"))), tmp_path / "to"
    told = fetch(files, target, dry_run=True)
    assert not target.exists()
    assert told.manifest is None
    done = fetch(files, target)
    assert [entry.path for entry in told.entries] == [entry.path for entry in done.entries]
    assert [entry.status for entry in told.entries] == ["would copy", "would copy", "would copy", "missing"]


def test_the_manifest_keeps_what_former_calls_brought(searched, tmp_path):
    searched.add("x.tif", tier="A")
    searched.add("y.tif", tier="B")
    files, target = files_of(searched.write()), tmp_path / "to"
    fetch(files[:1], target)
    fetch(files[1:], target)
    assert [row["path"] for row in manifest(target)] == ["x.tif", "y.tif"]
    fetch(files, target)
    assert [row["status"] for row in manifest(target)] == ["there", "there"]


@pytest.mark.parametrize("foreign", [b"well,compound\nA01,DMSO\n", b"", b"\xff\xfe\x00"])
def test_a_foreign_manifest_is_left_alone(searched, tmp_path, foreign):
    searched.add("x.tif")
    target = tmp_path / "to"
    target.mkdir()
    (target / "manifest.csv").write_bytes(foreign)
    with pytest.raises(ConfigError, match="a file of another kind: move it away"):
        fetch(files_of(searched.write()), target)
    assert (target / "manifest.csv").read_bytes() == foreign
    assert content(target) == {}


def test_not_into_the_input_nor_a_tier(searched, tmp_path):
    searched.add("x.tif", at=tmp_path / "tiers" / "A" / "x.tif")
    searched.input.mkdir()
    files = files_of(searched.write())
    for inside in (searched.input / "fetched", searched.input, tmp_path / "tiers" / "A" / "more"):
        with pytest.raises(ConfigError, match="choose a folder outside"):
            fetch(files, inside)
    assert not (searched.input / "fetched").exists()


def test_a_full_disk_says_what_to_do(searched, tmp_path, monkeypatch):
    for number in range(3):
        searched.add(f"{number}.tif", bytes([number]))
    files, target = files_of(searched.write()), tmp_path / "to"
    copy = bring.copy_verified

    def full(order):
        if order.origin.name == "1.tif":
            raise OSError(errno.ENOSPC, "No space left on device")
        return copy(order)

    monkeypatch.setattr(bring, "copy_verified", full)
    with pytest.raises(TryAgainError, match=r"is full: free space, or use --link\. 1 of 3 files are done") as caught:
        fetch(files, target)
    assert caught.value.exit_code == 75
    assert not (target / "manifest.csv").exists()
    monkeypatch.undo()
    report = fetch(files, target)
    assert [entry.status for entry in report.entries] == ["there", "copied", "copied"]


def test_a_killed_fetch_goes_on_and_leaves_nothing_unfinished(searched, tmp_path):
    for number in range(3):
        searched.add(f"{number}.tif", bytes([number]) * 1000)
    files, target = files_of(searched.write()), tmp_path / "to"
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tierflow.catalogue.fetch import fetch, wanted\n"
        "from tierflow.catalogue.open import open_catalogue\n"
        "from tierflow.catalogue.query import Query, Sort\n"
        "from tierflow.tiers import files\n"
        "publish, calls = files.publish_new, []\n"
        "def dies(part, destination):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 2: os.kill(os.getpid(), 9)\n"
        "    return publish(part, destination)\n"
        "files.publish_new = dies\n"
        "fetch(wanted(open_catalogue(sys.argv[1]), Query(sort=(Sort('path'),), limit=None)), Path(sys.argv[2]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, searched.output, target], capture_output=True, timeout=60)
    assert done.returncode == -9, done.stderr
    assert set(content(target)) > {b"0.tif"}
    assert any(name.endswith(b".part") for name in content(target))
    report = fetch(files, target)
    assert [entry.status for entry in report.entries] == ["there", "copied", "copied"]
    assert set(content(target)) == {b"0.tif", b"1.tif", b"2.tif"}


def test_two_fetches_into_one_folder(searched, tmp_path):
    searched.add("x.tif")
    target = tmp_path / "to"
    target.mkdir()
    handle = os.open(target, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(TryAgainError, match="another fetch is at work"):
            fetch(files_of(searched.write()), target)
    finally:
        os.close(handle)
    assert fetch(files_of(searched.output), target).count("copied") == 1


def test_a_file_that_was_never_read_is_copied_as_it_is(searched, tmp_path):
    searched.add("x.tif", b"no checksum", sha256=None, status="failed")
    files, target = files_of(searched.write()), tmp_path / "to"
    assert fetch(files, target).count("copied") == 1
    assert content(target) == {b"x.tif": b"no checksum"}
    assert fetch(files, target).count("there") == 1


def test_a_folder_that_cant_be_made(searched, tmp_path):
    searched.add("x.tif")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't be written"):
        fetch(files_of(searched.write()), tmp_path / "file" / "to")


def test_relative_outputs_give_absolute_links(searched, tmp_path, monkeypatch):
    searched.add("x.tif", None)
    searched.rows[0] |= {"destination": "tiers/A/x.tif", "sha256": hashlib.sha256(b"pixels").hexdigest()}
    searched.write()
    (searched.output / "tiers" / "A").mkdir(parents=True)
    (searched.output / "tiers" / "A" / "x.tif").write_bytes(b"pixels")
    monkeypatch.chdir(tmp_path)
    fetch(files_of("output"), Path("to"), how="link")
    assert (tmp_path / "to" / "x.tif").readlink().is_absolute()
    assert (tmp_path / "to" / "x.tif").read_bytes() == b"pixels"
