from __future__ import annotations

import csv

import pytest

from tierflow.config import Scan
from tierflow.errors import ConfigError
from tierflow.io.layouts.base import Layout, Names, well_of
from tierflow.io.layouts.detect import candidates, choose, detect
from tierflow.scan.describe import describe
from tierflow.scan.naming import read_names

CELLOMICS = [f"p/AS_1_{row}{column:02d}f{site:02d}d0.tif" for row in "ABC" for column in (1, 2) for site in range(10)]


def no_header(position):
    raise AssertionError(f"file {position} was opened")


def fixed(name, specificity=0.9, fits=lambda path: True):
    return Layout(name, "about", "example", specificity, lambda path: Names(plate=".") if fits(path) else None)


def test_confidence_is_share_times_specificity():
    half = [*CELLOMICS[:30], *(f"p/{i}.tif" for i in range(30))]
    (fit,) = detect(half, candidates())
    assert (fit.layout, fit.share) == ("cellomics", 0.5)
    assert fit.confidence == pytest.approx(0.5 * 0.95)


def test_ties_go_to_the_more_specific_then_to_the_first_name():
    assert [fit.layout for fit in detect(["x"], [fixed("b"), fixed("c", 0.95), fixed("a")])] == ["c", "a", "b"]


def test_a_quarter_of_the_names_is_enough_and_less_is_not():
    layout = fixed("a", fits=lambda path: path.startswith("hit"))
    assert choose(["hit1", "m1", "m2", "m3"], [layout]).share == 0.25
    assert choose(["hit1", "m1", "m2", "m3", "m4"], [layout]) is None


def test_no_names_fit_nothing():
    assert detect([], candidates()) == []


def test_a_large_folder_is_sampled_over_its_whole_length():
    seen = []
    detect([f"{i:06d}" for i in range(100_000)], [fixed("a", fits=lambda path: seen.append(path) or True)])
    assert len(seen) <= 64
    assert seen[0] == "000000"
    assert seen[-1] > "098000"


def test_mixed_trees_are_read_folder_by_folder():
    paths = sorted([*CELLOMICS, "o/r02c03f04p05-ch1sk1fk1fl1.tiff", "photos/IMG_1.jpg"])
    naming = read_names(paths, Scan(), no_header)
    assert dict(zip(paths, naming.layouts, strict=True)) == {
        **dict.fromkeys(CELLOMICS, "cellomics"),
        "o/r02c03f04p05-ch1sk1fk1fl1.tiff": "opera_phenix",
        "photos/IMG_1.jpg": "generic",
    }
    assert [paths[i] for i in naming.unparsed] == ["photos/IMG_1.jpg"]
    assert naming.names[-1].plate == "photos"


def test_reading_of_a_folder_does_not_depend_on_other_folders():
    alone = read_names(CELLOMICS, Scan(), no_header)
    others = sorted([*CELLOMICS, *(f"q/P_B03_s{i}_w1.tif" for i in range(500))])
    together = read_names(others, Scan(), no_header)
    assert together.names[: len(CELLOMICS)] == alone.names
    assert together.layouts[: len(CELLOMICS)] == alone.layouts


def test_names_that_do_not_fit_are_counted_and_read_as_generic():
    paths = sorted([*CELLOMICS, "p/notes.tif"])
    naming = read_names(paths, Scan(), no_header)
    assert [paths[i] for i in naming.unparsed] == ["p/notes.tif"]
    assert naming.layouts[naming.unparsed[0]] == "generic"
    assert naming.names[naming.unparsed[0]] == Names(plate="p")
    assert naming.summary()[0] == {
        "name": "cellomics",
        "objects": 60,
        "confidence": pytest.approx(0.95 * 60 / 61, abs=1e-4),
    }


def test_nothing_is_called_a_misfit_where_no_layout_was_expected():
    naming = read_names(["a/1.jpg", "b/2.jpg"], Scan(), no_header)
    assert naming.unparsed == []
    assert naming.summary() == [{"name": "generic", "objects": 2, "confidence": 0.05}]


def test_a_chosen_layout_is_used_whatever_else_fits():
    paths = ["P_B03_s1_w1.tif", "x.tif"]
    naming = read_names(paths, Scan(layout="cellprofiler"), no_header)
    assert naming.layouts == ["cellprofiler", "generic"]
    assert naming.unparsed == [1]
    assert read_names(paths, Scan(layout="generic"), no_header).unparsed == []


def test_a_chosen_layout_that_fits_nothing_says_so():
    assert read_names(["x.tif"], Scan(layout="yokogawa"), no_header).unparsed == [0]


def test_the_users_pattern_is_used():
    naming = read_names(["W-B03.tif"], Scan(layout="regex", pattern="W-(?P<well>...)"), no_header)
    assert (naming.layouts, naming.names[0].well) == (["regex"], "B03")


def test_unknown_layouts_name_the_known_ones():
    with pytest.raises(ConfigError, match=r"imagexpres.*imagexpress"):
        read_names(["x.tif"], Scan(layout="imagexpres"), no_header)


HEADER = {"kind": "metamorph", "well": "E07", "site": "1", "channel": "FITC", "plate": "P"}


class TestHeaders:
    def read(self, paths, scan):
        opened = []

        def header(position):
            opened.append(paths[position])
            return HEADER if "meta" in paths[position] else {}

        return read_names(paths, scan, header), opened

    def test_only_silent_names_are_opened(self):
        naming, opened = self.read(["P_B03_s1_w1.tif", "q/meta.tif", "q/other.tif"], Scan(read_headers=True))
        assert opened == ["q/meta.tif", "q/other.tif"]
        assert naming.layouts == ["imagexpress", "metamorph", "generic"]
        assert naming.names[1][:6] == ("P", "E07", 5, 7, "1", "FITC")
        assert (naming.unparsed, naming.headers) == ([2], 2)

    def test_nothing_is_opened_unasked(self):
        naming, opened = self.read(["meta.tif"], Scan())
        assert opened == []
        assert naming.layouts == ["generic"]

    def test_a_chosen_header_layout_opens_every_file(self):
        naming, opened = self.read(["P_B03_s1_w1.tif", "meta.tif"], Scan(layout="metamorph"))
        assert len(opened) == 2
        assert naming.layouts == ["generic", "metamorph"]
        assert naming.unparsed == [0]

    def test_a_header_of_another_kind_is_not_taken(self):
        naming, _ = self.read(["meta.tif"], Scan(layout="ome_tiff"))
        assert naming.layouts == ["generic"]


@pytest.mark.shared
def test_all_shared_images_are_read_as_their_index_says(shared_images):
    with (shared_images / "index.csv").open(newline="") as handle:
        truth = {row["path"]: row for row in csv.DictReader(handle)}
    paths = sorted(truth)
    naming = read_names(paths, Scan(), no_header)
    wrong = []
    for path, names in zip(paths, naming.names, strict=True):
        row = truth[path]
        # The serial number of a section is its whole name there; no layout can know that it counts z.
        z = None if path.startswith("em_sstem_vnc/") else row["z_index"]
        expected = (
            well_of(row["well"])[0] if row["well"] else None,
            row["site"] or None,
            row["channel"] or None,
            int(row["timepoint"]) if row["timepoint"] else None,
            int(z) if z else None,
        )
        read = (names.well, names.site, names.channel, names.timepoint, names.z)
        if read != expected:
            wrong.append((path, read, expected))
    assert wrong == []
    assert len(paths) == 265


@pytest.mark.shared
def test_shared_images_get_their_own_layouts_and_plates(shared_images):
    description = describe(shared_images, Scan(), limit=100)
    by_folder = {e.path.split("/")[0]: e for e in description.examples}
    assert {folder: (e.layout, e.names.plate) for folder, e in by_folder.items() if folder != "bbbc006_miq"} == {
        "cellprofiler_human": ("cellomics", "AS_09125_050116030001"),
        "em_sstem_vnc": ("generic", "em_sstem_vnc/stack1"),
        "imagexpress_faim": ("imagexpress", "Projection-Mix"),
        "imagexpress_multisite_embl": ("imagexpress", "IM-Assays-EXP2"),
        "ome_tiff_plate_embl": ("embl", "ALMF-EMBL-ZeroBased-P2-S4-C2-T1"),
        "smear_sharpness": ("generic", "smear_sharpness/smear"),
        "transfluor_screen": ("cellomics", "AS_09047_050428030001"),
    }
    assert {e.path.split("/")[1]: e.layout for e in description.examples if e.path.startswith("bbbc006_miq")} == {
        "in_focus": "bbbc",
        "out_of_focus_z00": "imagexpress",
    }
    assert description.files == 265
    assert {fit.layout for fit in description.fits} >= {"imagexpress", "cellomics", "embl", "bbbc", "generic"}


@pytest.mark.shared
def test_shared_plate_scanned_from_the_plate_folder_itself(shared_images):
    description = describe(shared_images / "imagexpress_faim" / "Projection-Mix", Scan())
    assert {e.names.plate for e in description.examples} == {"Projection-Mix"}
    assert {e.names.acquired_at for e in description.examples} == {"2023-02-21"}


def test_description_shows_one_name_per_folder_and_the_misfits(tmp_path):
    for path in (*CELLOMICS, "p/notes.tif", "q/1.png", "q/2.png", "q/readme.txt"):
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.touch()
    description = describe(tmp_path, Scan(), limit=1)
    assert [(e.path, e.layout, e.files) for e in description.examples] == [
        (CELLOMICS[0], "cellomics", 61),
        ("p/notes.tif", "generic", 61),
    ]
    assert (description.more_folders, description.unparsed) == (1, 3)
    assert description.skipped == "1 skipped (1 .txt)"
    assert [fit.layout for fit in description.fits] == ["cellomics", "generic"]
