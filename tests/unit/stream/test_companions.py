"""Files that instruments write beside images: waited for only where they are to be expected."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from watched_folder import HTD, START, Folder

from tierflow.stream.companions import Companions
from tierflow.stream.ledger import Ledger
from tierflow.stream.states import State


@pytest.fixture
def root(tmp_path):
    (tmp_path / "input").mkdir()
    return tmp_path / "input"


def companions(root: Path) -> Companions:
    return Companions(root, Ledger(root.parent / "output"))


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_the_first_acquisition_is_never_held_up_the_next_one_is(root):
    (root / "P1_Plate_1" / "TimePoint_1").mkdir(parents=True)
    (root / "P2_Plate_2" / "TimePoint_1").mkdir(parents=True)
    known = companions(root)
    first, second = b"P1_Plate_1/TimePoint_1/P1_A01_s1_w1.TIF", b"P2_Plate_2/TimePoint_1/P2_A01_s1_w1.TIF"
    assert known.missing(first, "imagexpress") is None
    put(root / "P1_Plate_1" / "P1.HTD", HTD)
    known = companions(root)
    assert known.missing(first, "imagexpress") is None
    assert "its .HTD file isn't there yet" in known.missing(second, "imagexpress")
    # Of another instrument, no .HTD is to be expected.
    assert known.missing(second, "cellomics") is None
    # A later process has not forgotten.
    assert "its .HTD file isn't there yet" in companions(root).missing(second, "imagexpress")


def test_a_companion_that_comes_ends_the_wait_and_a_half_one_does_not(root):
    put(root / "P1_Plate_1" / "P1.HTD", HTD)
    (root / "P2_Plate_2").mkdir()
    known = companions(root)
    assert known.missing(b"P1_Plate_1/P1_A01_s1_w1.TIF", "imagexpress") is None
    put(root / "P2_Plate_2" / "P2.HTD", HTD[:50])
    known = companions(root)
    assert known.missing(b"P2_Plate_2/a_A01_s1_w1.TIF", "imagexpress") == "P2_Plate_2/P2.HTD isn't whole yet"
    put(root / "P2_Plate_2" / "P2.HTD", HTD)
    deadline = time.monotonic() + 10
    while known.missing(b"P2_Plate_2/a_A01_s1_w1.TIF", "imagexpress"):
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("image", "layout", "companion", "text"),
    [
        ("m1/Images/r01c01f01p01-ch1sk1fk1fl1.tiff", "opera_phenix", "m1/Images/Index.idx.xml", "<A></A>\n"),
        ("m1/Images/r01c01f01p01-ch1sk1fk1fl1.tiff", "opera_phenix", "m1/Images/Index.xml", "<A></A>\n"),
        ("m1/a.ome.tiff", "generic", "m1/set.companion.ome", "<OME></OME>"),
        ("m1/exp_w1DAPI_s1_t1.TIF", "generic", "m1/exp.nd", '"NDInfoFile", Version 1.0\n"EndFile"\n'),
        ("m1/exp.stk", "generic", "m1/exp.nd", '"NDInfoFile", Version 1.0\n"EndFile"\n'),
    ],
)
def test_each_format_has_its_own(root, image, layout, companion, text):
    put(root / companion, text)
    other = image.replace("m1/", "m2/", 1)
    (root / other).parent.mkdir(parents=True)
    known = companions(root)
    assert known.missing(os.fsencode(image), layout) is None
    assert "isn't there yet" in known.missing(os.fsencode(other), layout)
    put(root / companion, text[: len(text) // 2])
    assert "isn't whole yet" in companions(root).missing(os.fsencode(image), layout)


def test_a_file_waits_for_its_companion_and_its_site_is_what_the_companion_says(tmp_path):
    f = Folder(tmp_path, {"series": {"expect": "site"}}, unit="site")
    put(f.root / "P1_Plate_1" / "P1.HTD", HTD.replace('"NWavelengths", 3', '"NWavelengths", 2'))
    f.write("P1_Plate_1/TimePoint_1/P1_A01_s1_w1.TIF", now=START)
    f.settle(START)
    assert f.ledger.counts()[State.READY] == 0
    f.write("P1_Plate_1/TimePoint_1/P1_A01_s1_w2.TIF", now=START + 1)
    f.settle(START + 1)
    assert f.ledger.counts()[State.READY] == 2


def test_switched_off_none_is_waited_for(tmp_path):
    f = Folder(tmp_path, {"complete": {"companions": False}})
    put(f.root / "P1_Plate_1" / "P1.HTD", HTD[:50])
    f.write("P1_Plate_1/P1_A01_s1_w1.TIF", now=START)
    f.settle(START)
    assert f.ledger.counts()[State.READY] == 1
