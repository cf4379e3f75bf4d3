from __future__ import annotations

import pytest

from tierflow.config import Scan
from tierflow.errors import ConfigError
from tierflow.io.layouts import (
    bbbc,
    cellomics,
    cellprofiler,
    embl,
    generic,
    imagexpress,
    opera_phenix,
    regex,
    yokogawa,
)
from tierflow.io.layouts.base import Names, iso_day, well_name, well_of
from tierflow.testing.layouts import check_names

GUID = "045200D6-DAE1-4224-AFDE-9EFD107D85EB"
TREE = "Plate7/2024-04-22/1697"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B03", ("B03", 2, 3)),
        ("b3", ("B03", 2, 3)),
        ("p24", ("P24", 16, 24)),
        ("T12", ("T12", 20, 12)),
        ("Z48", ("Z48", 26, 48)),
        ("AB12", ("AB12", 28, 12)),
        ("AF48", ("AF48", 32, 48)),
        ("A001", ("A01", 1, 1)),
    ],
)
def test_wells_are_normalised(text, expected):
    assert well_of(text) == expected
    assert well_name(*expected[1:]) == expected[0]


@pytest.mark.parametrize("text", ["", "A", "A00", "A49", "AG01", "ZZ99", "1A", "A1B", "A-1", "A\u0661", "ABC1"])
def test_impossible_wells_are_refused(text):
    assert well_of(text) is None


def test_all_wells_of_a_1536_plate_have_their_own_name():
    names = {well_name(row, column) for row in range(1, 33) for column in range(1, 49)}
    assert len(names) == 1536
    assert all(well_of(name)[0] == name for name in names)


def test_days_that_do_not_exist_are_refused():
    assert iso_day("2024_02_29") == "2024-02-29"
    assert iso_day("2023-02-29") is None


class TestImageXpress:
    def read(self, path) -> Names:
        names = imagexpress.parse(path)
        check_names(names)
        return names

    def test_database_tree(self):
        names = self.read(f"screen/{TREE}/TimePoint_2/ZStep_3/Plate7_C07_s12_w1{GUID}.tif")
        assert names[:9] == ("Plate7", "C07", 3, 7, "12", "w1", 3, 2, "2024-04-22")

    def test_guid_may_begin_with_a_digit(self):
        # Read with \d+ this is channel 2045200.
        assert self.read(f"{TREE}/Plate7_E07_s2_w2{GUID}.tif").channel == "w2"

    def test_channel_ten_before_a_guid_and_alone(self):
        assert self.read(f"{TREE}/Plate7_E07_s2_w10{GUID}.tif").channel == "w10"
        assert self.read("Plate7_E07_s2_w10.TIF").channel == "w10"

    def test_guid_in_lower_case(self):
        names = self.read("00_mcf-z-stacks-03212011_a19_s2_w12703a47b-7574-461a-85e2-afc38bc0adae.tif")
        assert (names.plate, names.well, names.site, names.channel) == ("00_mcf-z-stacks-03212011", "A19", "2", "w1")

    def test_single_channel_plate_has_no_w(self):
        names = self.read(f"{TREE}/Plate7_C07_s1{GUID}.tif")
        assert (names.well, names.site, names.channel) == ("C07", "1", None)

    def test_single_channel_single_site(self):
        names = self.read(f"Plate7_C07{GUID}.tif")
        assert (names.plate, names.well, names.site, names.channel) == ("Plate7", "C07", None, None)

    def test_single_site_with_channel(self):
        names = self.read(f"{TREE}/Plate7_C07_w3{GUID}.tif")
        assert (names.site, names.channel) == (None, "w3")

    def test_projections_lie_above_the_steps(self):
        assert self.read(f"{TREE}/Plate7_C07_s1_w1{GUID}.tif").z is None
        assert self.read(f"{TREE}/ZStep_1/Plate7_C07_s1_w1{GUID}.tif").z == 1

    def test_exported_folder(self):
        names = self.read("run/Screen A_Plate_1697/TimePoint_1/ZStep_0/Screen A_B03_s10_w4.TIF")
        assert names[:8] == ("Screen A_Plate_1697", "B03", 2, 3, "10", "w4", 0, 1)

    def test_two_acquisitions_of_a_plate_differ(self):
        one = self.read(f"{TREE}/Plate7_C07_s1_w1{GUID}.tif")
        two = self.read(f"Plate7/2024-04-22/1698/Plate7_C07_s1_w1{GUID}.tif")
        assert one.plate == two.plate
        assert one.acquisition != two.acquisition

    @pytest.mark.parametrize("root", ["", "2024-04-22/1697/", "TimePoint_1/", "ZStep_4/"])
    def test_plate_from_the_name_when_the_scan_starts_below_the_plate(self, root):
        assert self.read(f"{root}My_Plate_C07_s1_w1{GUID}.tif").plate == "My_Plate"

    def test_steps_when_the_scan_starts_below_the_plate(self):
        names = self.read(f"TimePoint_5/ZStep_4/P_C07_s1_w1{GUID}.tif")
        assert (names.timepoint, names.z) == (5, 4)

    def test_name_without_plate(self):
        assert self.read("day 1/B03_s1_w1.tif").plate == "day 1"
        assert self.read("B03_s1_w1.tif").plate == "."

    def test_last_well_of_the_name_counts(self):
        names = self.read("drug_A01_B03_s1_w1.tif")
        assert (names.plate, names.well) == ("drug_A01", "B03")

    @pytest.mark.parametrize("marks", ["_s12_w1", "_s12", "_w10", "_s10_w10", "_S12_W1"])
    @pytest.mark.parametrize("guid", ["", GUID])
    def test_site_and_channel_never_pass_for_a_well(self, marks, guid):
        # Rows S and W exist on 1536-well plates.
        assert self.read(f"P_C07{marks}{guid}.tif").well == "C07"

    @pytest.mark.parametrize("name", ["embryo_s12_w1.tif", "embryo_w10.tif", f"embryo_s12_w1{GUID}.tif"])
    def test_names_without_a_well_do_not_fit(self, name):
        assert imagexpress.parse(name) is None

    def test_rows_s_and_w_of_a_1536_well_plate(self):
        assert self.read("P_S12_s1_w1.tif").well == "S12"
        assert self.read("P_W10_w1.tif").well == "W10"

    def test_a_well_alone_needs_more_evidence(self):
        assert imagexpress.parse("scan_A01.tif") is None
        assert imagexpress.parse("TimePoint_1/scan_A01.tif").well == "A01"

    @pytest.mark.parametrize(
        "path",
        [
            f"{TREE}/Plate7_C07_s1_w1_thumb{GUID}.tif",
            f"{TREE}/Plate7_AG07_s1_w1.tif",
            f"{TREE}/Plate7_C00_s1_w1.tif",
            f"{TREE}/Plate7_C07_s1_w1{GUID[:-1]}.tif",
            f"{TREE}/Plate7_C07_s1_w1",
        ],
    )
    def test_other_names_do_not_fit(self, path):
        assert imagexpress.parse(path) is None

    def test_impossible_day_is_left_out(self):
        assert self.read(f"P/2024-13-45/1/P_C07_s1_w1{GUID}.tif").acquired_at is None


@pytest.mark.parametrize(
    ("parse", "path", "expected"),
    [
        (
            cellprofiler.parse,
            "x/2024_04_22/P_1_B03_s12_w1.tif",
            ("P_1", "B03", 2, 3, "12", "w1", None, None, "2024-04-22"),
        ),
        (cellprofiler.parse, "P_AB12_s123_w10_illum.png", ("P", "AB12", 28, 12, "123", "w10", None, None, None)),
        (cellprofiler.parse, f"P_T12_s1_w2{GUID}.tif", ("P", "T12", 20, 12, "1", "w2", None, None, None)),
        (cellprofiler.parse, "raw/_B03_s1_w1.tif", ("raw", "B03", 2, 3, "1", "w1", None, None, None)),
        (yokogawa.parse, "d/P_1_B03_T0001F012L01A01Z05C02.tif", ("P_1", "B03", 2, 3, "012", "C02", 5, 1, None)),
        (yokogawa.parse, "d/AssayPlate_X_B03_T0001F001L01A01Z01C02.png", ("d", "B03", 2, 3, "001", "C02", 1, 1, None)),
        (opera_phenix.parse, "r02c03f04p05-ch1sk1fk1fl1.tiff", (".", "B03", 2, 3, "04", "ch1", 5, 1, None)),
        (
            opera_phenix.parse,
            "Images/r16c24f109p01-ch4sk10fk1fl1.tiff",
            (".", "P24", 16, 24, "109", "ch4", 1, 10, None),
        ),
        (
            opera_phenix.parse,
            "s/P7__2024-04-22T14_36_10-Measurement 1/Images/r28c12f01p01rc1-ch2sk1fk1fl1.tiff",
            ("P7", "AB12", 28, 12, "01", "ch2", 1, 1, "2024-04-22T14:36:10"),
        ),
        (
            opera_phenix.parse,
            "s/P7/myImages/r01c01f01p01-ch2.tiff",
            ("myImages", "A01", 1, 1, "01", "ch2", 1, None, None),
        ),
        (
            cellomics.parse,
            "AS_09125_050116030001_D03f00d1.tif",
            ("AS_09125_050116030001", "D03", 4, 3, "00", "d1") + (None,) * 3,
        ),
        (
            cellomics.parse,
            "x/AS_09047_050428030001_O01f02d2.TIF",
            ("AS_09047_050428030001", "O01", 15, 1, "02", "d2") + (None,) * 3,
        ),
        (
            embl.parse,
            "s/Plate7/W0027--C3--empty/P002--C3--empty/a_B--C3--empty--W0027--P002--T0003--Z0004--C01.ome.tif",
            ("Plate7", "C03", 3, 3, "002", "C01", 4, 3, None),
        ),
        (embl.parse, "exp--W0021--P000--T0000--Z000--DAPI.tif", ("exp", None, None, None, "000", "DAPI", 0, 0, None)),
        (
            embl.parse,
            "W0027--C3/exp--C3--W0027--P002--T0000--Z000--C00.tif",
            ("exp", "C03", 3, 3, "002", "C00", 0, 0, None),
        ),
        (
            bbbc.parse,
            "f/BBBC006_z_aligned__a01__s1__w1_10.png",
            ("BBBC006_z_aligned", "A01", 1, 1, "1", "w1") + (None,) * 3,
        ),
        (bbbc.parse, "SIMCEPImages_P24_C100_F48_s25_w2.TIF", ("SIMCEPImages", "P24", 16, 24, "25", "w2") + (None,) * 3),
        (
            bbbc.parse,
            f"BBBC006_v1_images_z_16/mcf_a01_s1_w1{GUID}.tif",
            ("mcf", "A01", 1, 1, "1", "w1", 16, None, None),
        ),
        (generic.parse, "a/b/IMG_1.jpg", ("a/b",) + (None,) * 8),
        (generic.parse, "IMG_1.jpg", (".",) + (None,) * 8),
    ],
)
def test_other_layouts(parse, path, expected):
    names = parse(path)
    check_names(names)
    assert names[:9] == expected


@pytest.mark.parametrize(
    ("parse", "path"),
    [
        (cellprofiler.parse, "P_B03_s1_w2045200.tif"),
        (cellprofiler.parse, "P_B03_s_w1.tif"),
        (yokogawa.parse, "P_B03_T0001F012L01A01Z05.tif"),
        (opera_phenix.parse, "r00c03f04p05-ch1sk1fk1fl1.tiff"),
        (opera_phenix.parse, "r33c03f04p05-ch1sk1fk1fl1.tiff"),
        (cellomics.parse, "P_D03f00.tif"),
        (cellomics.parse, "P_D00f00d0.tif"),
        (embl.parse, "exp--C3--W0027--P002--T0000--C00.tif"),
        (bbbc.parse, f"other/mcf_a01_s1_w1{GUID}.tif"),
    ],
)
def test_near_misses_do_not_fit(parse, path):
    assert parse(path) is None


class TestUsersPattern:
    def test_reads_named_groups_from_the_path(self):
        layout = regex.layout(r"(?P<plate>\w+)/day(?P<timepoint>\d+)/(?P<well>[a-z]\d+)-(?P<channel>\w+)-z(?P<z>-?\d+)")
        names = layout.parse("X/day03/b3-GFP-z-2.tif")
        assert names[:9] == ("X", "B03", 2, 3, None, "GFP", -2, 3, None)

    def test_row_and_column_make_the_well(self):
        assert regex.layout(r"R(?P<row>\d+)C(?P<column>\d+)").parse("R02C11.tif").well == "B11"
        assert regex.layout(r"(?P<row>[A-Z]+)/(?P<column>\d+)/").parse("AB/12/x.tif")[1:4] == ("AB12", 28, 12)

    def test_a_well_that_no_plate_has_is_kept(self):
        assert regex.layout(r"(?P<well>slide\d)").parse("slide3.tif")[1:4] == ("slide3", None, None)

    @pytest.mark.parametrize("path", ["zfar.tif", "z99999999999.tif", "other.tif"])
    def test_what_is_no_number_does_not_fit(self, path):
        assert regex.layout(r"z(?P<z>\w+)\.").parse(path) is None

    def test_impossible_row_does_not_fit(self):
        assert regex.layout(r"R(?P<row>\d+)C(?P<column>\d+)").parse("R40C11.tif") is None

    def test_group_that_did_not_take_part_is_unknown(self):
        assert regex.layout(r"(?P<well>[A-P]\d\d)(_s(?P<site>\d+))?").parse("B03.tif").site is None

    @pytest.mark.parametrize(
        ("pattern", "said"), [("(?P<wel>x)", "unknown group wel"), ("x", "no named group"), ("(", "not a regular")]
    )
    def test_wrong_patterns_name_the_remedy(self, pattern, said):
        with pytest.raises(ConfigError, match=said):
            regex.layout(pattern)

    def test_default_configuration_accepts_what_the_layout_accepts(self):
        assert Scan(layout="regex", pattern="(?P<well>x)").pattern == "(?P<well>x)"
