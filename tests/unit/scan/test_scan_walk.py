from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tierflow.config import Config, Scan, Tier
from tierflow.errors import InputMissingError, TryAgainError
from tierflow.io.walk import fingerprint, own_folders, walk


def make(root, *paths, data=b"x"):
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def found(walked):
    return [file.path.decode() for file in walked.files]


def test_takes_images_in_sorted_order_and_counts_the_rest(tmp_path):
    make(
        tmp_path,
        "b/2.tif",
        "b/10.tif",
        "a.PNG",
        "a/z.jpg",
        ".x.tif",
        ".git/y.tif",
        "p.HTD",
        "n.txt",
        "m",
        "x_thumb.tif",
    )
    walked = walk(tmp_path, Scan())
    assert found(walked) == ["a.PNG", "a/z.jpg", "b/10.tif", "b/2.tif"]
    assert walked.skipped == {"hidden": 2, "side_file": 2, "not_image": 1, "thumbnail": 1}
    assert walked.extensions == {".htd": 1, ".txt": 1, "no ending": 1}
    assert walked.examples["hidden"] == [".git", ".x.tif"]
    assert walked.warnings == []


def test_sizes_and_times_are_those_of_the_file(tmp_path):
    make(tmp_path, "a.tif", data=b"12345")
    os.utime(tmp_path / "a.tif", ns=(1, 1_600_000_000_123_456_789))
    (file,) = walk(tmp_path, Scan()).files
    assert (file.size, file.mtime_ns, file.is_link) == (5, 1_600_000_000_123_456_789, False)


def test_examples_are_the_first_by_name(tmp_path):
    make(tmp_path, *(f"{i:02d}.txt" for i in range(20)))
    assert walk(tmp_path, Scan()).examples["side_file"] == ["00.txt", "01.txt", "02.txt"]


@pytest.mark.parametrize(
    "name",
    [b"sp ace.tif", b"q'u\"ote.tif", b"new\nline.tif", "ünïcode 😀.tif".encode(), b"bad\xff\xfe.tif", b"-rf.tif"],
)
def test_any_name_is_taken_with_its_own_bytes(tmp_path, name):
    folder = os.fsencode(tmp_path) + b"/d\xff"
    file = Path(os.fsdecode(folder + b"/" + name))
    file.parent.mkdir()
    file.touch()
    assert [file.path for file in walk(tmp_path, Scan()).files] == [b"d\xff/" + name]


def test_links_to_files_are_objects_even_when_they_lead_nowhere(tmp_path):
    make(tmp_path, "real.dat", data=b"123")
    (tmp_path / "good.tif").symlink_to("real.dat")
    (tmp_path / "dangling.tif").symlink_to("nowhere")
    (tmp_path / "loop1.tif").symlink_to("loop2.tif")
    (tmp_path / "loop2.tif").symlink_to("loop1.tif")
    (tmp_path / "note.txt").symlink_to("nowhere")
    walked = walk(tmp_path, Scan())
    assert found(walked) == ["dangling.tif", "good.tif", "loop1.tif", "loop2.tif"]
    assert all(file.is_link for file in walked.files)
    assert walked.files[1].size == 3
    assert walked.skipped == {"side_file": 2}


def test_a_changed_target_shows_in_the_links_time(tmp_path):
    make(tmp_path, "real.dat")
    (tmp_path / "a.tif").symlink_to("real.dat")
    before = walk(tmp_path, Scan()).files[0].mtime_ns
    os.utime(tmp_path / "real.dat", ns=(1, before + 10**9))
    assert walk(tmp_path, Scan()).files[0].mtime_ns == before + 10**9


def test_special_files_are_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    (tmp_path / "null.tif").symlink_to("/dev/null")
    walked = walk(tmp_path, Scan())
    assert walked.files == []
    assert walked.skipped == {"special_file": 2}


class TestLinkedFolders:
    def test_are_counted_and_not_entered(self, tmp_path):
        make(tmp_path, "out/a.tif", "in/b.tif")
        (tmp_path / "in" / "more").symlink_to(tmp_path / "out")
        walked = walk(tmp_path / "in", Scan())
        assert found(walked) == ["b.tif"]
        assert walked.skipped == {"linked_folder": 1}

    def test_are_entered_when_wanted(self, tmp_path):
        make(tmp_path, "out/d/a.tif", "in/b.tif")
        (tmp_path / "in" / "more").symlink_to(tmp_path / "out")
        assert found(walk(tmp_path / "in", Scan(follow_links=True))) == ["b.tif", "more/d/a.tif"]

    def test_loops_end(self, tmp_path):
        make(tmp_path, "a/x.tif")
        (tmp_path / "a" / "up").symlink_to(tmp_path)
        (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
        walked = walk(tmp_path, Scan(follow_links=True))
        assert found(walked) == ["a/x.tif"]
        assert walked.skipped == {"folder_seen_before": 2}

    def test_two_links_to_one_folder_give_its_files_once(self, tmp_path):
        make(tmp_path, "out/x.tif")
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "b").symlink_to(tmp_path / "out")
        (tmp_path / "in" / "a").symlink_to(tmp_path / "out")
        assert found(walk(tmp_path / "in", Scan(follow_links=True))) == ["a/x.tif"]

    def test_the_real_path_wins_over_a_link_met_first(self, tmp_path):
        make(tmp_path, "z/x.tif")
        (tmp_path / "a").symlink_to(tmp_path / "z")
        assert found(walk(tmp_path, Scan(follow_links=True))) == ["z/x.tif"]

    def test_own_folders_are_not_entered_through_links(self, tmp_path):
        make(tmp_path, "results/x.tif", "in/y.tif")
        (tmp_path / "in" / "r").symlink_to(tmp_path / "results")
        walked = walk(tmp_path / "in", Scan(follow_links=True), skip_folders=[tmp_path / "results"])
        assert found(walked) == ["y.tif"]
        assert walked.skipped == {"own_folder": 1}


def test_excluded_folders_are_not_entered(tmp_path):
    make(tmp_path, "a/masks/x.tif", "a/y.tif", "masks/z.tif")
    walked = walk(tmp_path, Scan(exclude=("a/masks",)))
    assert found(walked) == ["a/y.tif", "masks/z.tif"]
    assert walked.skipped == {"excluded": 1}


def test_results_inside_the_input_are_left_out(tmp_path):
    make(tmp_path, "a.tif", "out/tiers/A/a.tif", "cold/a.tif", "out2/tiers/A/a.tif", "out2/.tierflow/lock")
    config = Config(input=str(tmp_path), tiers={"A": Tier(root="../cold"), "B": Tier(root="s3://bucket/x")})
    folders = own_folders(config, tmp_path / "out")
    walked = walk(tmp_path, config.scan, skip_folders=folders)
    assert found(walked) == ["a.tif"]
    assert walked.skipped == {"own_folder": 3}
    assert [warning.split()[1] for warning in walked.warnings] == ["out2"]


def test_a_former_result_may_itself_be_the_input(tmp_path):
    make(tmp_path, "tiers/A/a.tif", ".tierflow/lock")
    assert found(walk(tmp_path, Scan())) == ["tiers/A/a.tif"]


def test_formats_that_nobody_reads_are_pointed_out(tmp_path):
    make(tmp_path, "a.tif", "b.nd2", "c.nd2", "d.zarr/0/0")
    walked = walk(tmp_path, Scan())
    assert found(walked) == ["a.tif"]
    assert "2 .nd2 files" in walked.warnings[0]
    assert "1 .zarr folders" in walked.warnings[1]


def failing(monkeypatch, name, number):
    real = os.scandir

    def scandir(path):
        if os.fsdecode(path).endswith(name):
            raise OSError(number, os.strerror(number), path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_folders_without_access_are_counted_and_listed(tmp_path, monkeypatch):
    make(tmp_path, "a.tif", "locked/b.tif")
    failing(monkeypatch, "locked", errno.EACCES)
    walked = walk(tmp_path, Scan())
    assert found(walked) == ["a.tif"]
    assert walked.skipped == {"unreadable_folder": 1}
    assert walked.unseen == [b"locked"]
    assert "locked" in walked.warnings[0]
    assert "chmod u+rX" in walked.warnings[0]


def test_a_folder_that_vanishes_meanwhile_is_counted(tmp_path, monkeypatch):
    make(tmp_path, "a.tif", "gone/b.tif")
    failing(monkeypatch, "gone", errno.ENOENT)
    assert walk(tmp_path, Scan()).skipped == {"vanished_while_scanning": 1}


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_failing_share_stops_the_walk(tmp_path, monkeypatch, number):
    make(tmp_path, "a.tif", "share/b.tif")
    failing(monkeypatch, "share", number)
    with pytest.raises(TryAgainError, match=r"share.*run again"):
        walk(tmp_path, Scan())


def test_a_root_that_is_not_there_or_closed_is_named(tmp_path, monkeypatch):
    with pytest.raises(InputMissingError, match="not found: check the path"):
        walk(tmp_path / "nothing", Scan())
    failing(monkeypatch, tmp_path.name, errno.EACCES)
    with pytest.raises(InputMissingError, match="can't be listed"):
        walk(tmp_path, Scan())


class TestFingerprint:
    def digest(self, root, **scan):
        return fingerprint(root, Config(input=str(root), scan=Scan(**scan)), output=root / "out")

    def test_is_stable_and_ignores_what_is_not_taken(self, tmp_path):
        make(tmp_path, "a.tif")
        before = self.digest(tmp_path)
        make(tmp_path, "n.txt", "out/report.png", ".hidden.tif")
        assert self.digest(tmp_path) == before

    def test_notices_new_changed_and_removed_files(self, tmp_path):
        make(tmp_path, "a.tif", "b.tif")
        seen = [self.digest(tmp_path)]
        make(tmp_path, "c.tif")
        seen.append(self.digest(tmp_path))
        make(tmp_path, "c.tif", data=b"longer")
        seen.append(self.digest(tmp_path))
        os.utime(tmp_path / "a.tif", ns=(1, 1))
        seen.append(self.digest(tmp_path))
        (tmp_path / "b.tif").rename(tmp_path / "d.tif")
        seen.append(self.digest(tmp_path))
        (tmp_path / "d.tif").unlink()
        seen.append(self.digest(tmp_path))
        assert len(set(seen)) == len(seen)

    def test_a_missing_root_has_one_too(self, tmp_path):
        assert self.digest(tmp_path / "nothing") == self.digest(tmp_path)
