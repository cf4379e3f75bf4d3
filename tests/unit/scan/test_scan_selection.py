from __future__ import annotations

import re

import pytest

from tierflow.config import Scan
from tierflow.io.identity import display_path, object_id
from tierflow.io.selection import Selection, glob_regex, is_thumbnail

GUID = "A45200D6-DAE1-4224-AFDE-9EFD107D85EB"


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.tif", "a.tif", True),
        ("*.tif", "b/a.tif", False),
        ("**/*.tif", "a.tif", True),
        ("**/*.tif", "x/y/a.tif", True),
        ("x/**", "x/y/a.tif", True),
        ("x/**/a.tif", "x/a.tif", True),
        ("x/**/a.tif", "xy/a.tif", False),
        ("x/*/a.tif", "x/y/z/a.tif", False),
        ("a?.tif", "a/.tif", False),
        ("[ab].tif", "b.tif", True),
        ("[!ab].tif", "b.tif", False),
        ("x[!a]y", "x/y", False),
        ("[]].tif", "].tif", True),
        ("[.tif", "[.tif", True),
        ("a+(b).tif", "a+(b).tif", True),
        ("*.tif", "new\nline.tif", True),
        ("[\\d].tif", "7.tif", False),
    ],
)
def test_globs(pattern, path, matches):
    assert bool(re.fullmatch(glob_regex(pattern), path, re.DOTALL)) is matches


@pytest.mark.parametrize(
    ("name", "thumbnail"),
    [
        (f"P_C07_s1_w1_thumb{GUID}.tif", True),
        ("P_C07_s1_w1_thumb.TIF", True),
        ("P_C07_s1_w1_Thumb.tif", True),
        ("x_thumbnail.png", True),
        ("left_thumb_01.tif", False),
        ("thumb.tif", False),
        ("_thumbprint.tif", False),
        ("a_thumb", True),
    ],
)
def test_thumbnails(name, thumbnail):
    assert is_thumbnail(name) is thumbnail


@pytest.mark.parametrize(
    ("scan", "path", "reason"),
    [
        (Scan(), "a/b.TIF", None),
        (Scan(), "a/b.ome.tiff", None),
        (Scan(), "a/.b.tif", "hidden"),
        (Scan(), "a/._b.tif", "hidden"),
        (Scan(), "a/Plate.HTD", "side_file"),
        (Scan(), "Thumbs.db", "side_file"),
        (Scan(), "a/b", "not_image"),
        (Scan(), "a/b.nd2", "not_image"),
        (Scan(), "a/x_thumb.tif", "thumbnail"),
        (Scan(exclude=("*_mask.tif",)), "a/b_mask.tif", "excluded"),
        (Scan(exclude=("a/*.tif",)), "a/b.tif", "excluded"),
        (Scan(exclude=("a/*.tif",)), "x/a/b.tif", None),
        (Scan(exclude=("/a/*.tif", "")), "a/b.tif", "excluded"),
        (Scan(include=("*.dat",)), "a/b.dat", None),
        (Scan(include=("*.dat",)), "a/b.tif", "not_included"),
        (Scan(include=("**/w1/*",)), "p/w1/b.txt", None),
        (Scan(include=("*",)), "a/.b.tif", "hidden"),
        (Scan(include=("*",)), "a/x_thumb.tif", "thumbnail"),
        (Scan(include=("*.tif",), exclude=("b*",)), "a/b.tif", "excluded"),
    ],
)
def test_files_are_taken_or_left_with_a_reason(scan, path, reason):
    assert Selection(scan).skip_file(path.rpartition("/")[2], path) == reason


@pytest.mark.parametrize(
    ("scan", "path", "reason"),
    [
        (Scan(), "a", None),
        (Scan(), "a/.snapshot", "hidden"),
        (Scan(), "a/@eaDir", "hidden"),
        (Scan(exclude=("masks",)), "a/masks", "excluded"),
        (Scan(exclude=("masks/",)), "a/masks", "excluded"),
        (Scan(exclude=("a/masks",)), "b/a/masks", None),
        (Scan(include=("*.tif",)), "a", None),
    ],
)
def test_folders_are_entered_or_left_with_a_reason(scan, path, reason):
    assert Selection(scan).skip_folder(path.rpartition("/")[2], path) == reason


def test_object_id_is_sha256_over_dataset_and_path():
    # printf 'd/a/\377.tif' | sha256sum
    assert object_id("d", b"a/\xff.tif") == "1188eb6e7f214048d0fe1a7921da007c"
    assert object_id("d", "a/\udcff.tif") == "1188eb6e7f214048d0fe1a7921da007c"
    assert object_id("d", b"a/\xff.tif") != object_id("d", "a/\\xff.tif")
    assert object_id("d", "a.tif") != object_id("e", "a.tif")


def test_undecodable_bytes_are_shown_as_hex():
    assert display_path(b"a\xff/\xc3\xa9\n 'q'.tif") == "a\\xff/é\n 'q'.tif"
