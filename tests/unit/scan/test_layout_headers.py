from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tierflow.io.layouts import metamorph, ome_tiff
from tierflow.io.layouts.headers import parse_description, read_header
from tierflow.testing.layouts import check_names

METAMORPH = """<MetaData>
<prop id="Description" type="string" value="Plate Name: My plate&#13;&#10;Timepoint: 3&#13;&#10;&#13;&#10;Gain: 1"/>
<PlaneInfo>
<prop id="acquisition-time-local" type="time" value="20230221 10:41:58.061"/>
<prop id="stage-label" type="string" value="{label}"/>
<prop id="_IllumSetting_" type="string" value="FITC_05"/>
</PlaneInfo></MetaData>"""


def ome(files, *, plate=True):
    images = "".join(
        f"""<Image ID="Image:{i}"><AcquisitionDate>2024-04-22T10:00:00</AcquisitionDate>
        <Pixels SizeX="4" SizeY="4" SizeC="1" SizeZ="1" SizeT="1"><Channel ID="c" Name="DAPI{i}"/>
        <TiffData IFD="0"><UUID FileName="{name}">urn:uuid:1</UUID></TiffData></Pixels></Image>"""
        for i, name in enumerate(files)
    )
    samples = "".join(
        f'<Well Row="1" Column="{2 + i}"><WellSample Index="{i}"><ImageRef ID="Image:{i}"/></WellSample></Well>'
        for i in range(len(files))
    )
    plates = f'<Plate Name="P7">{samples}</Plate>' if plate else ""
    return f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{plates}{images}</OME>'


def test_metamorph_tags():
    names = metamorph.from_header(parse_description(METAMORPH.format(label="E07 : Site 12"), "x.tif"), "d/x.tif")
    check_names(names)
    assert names[:9] == ("My plate", "E07", 5, 7, "12", "FITC_05", None, 3, "2023-02-21T10:41:58.061")


def test_metamorph_without_a_well():
    names = metamorph.from_header(parse_description(METAMORPH.format(label="Position 4"), "x.tif"), "d/x.tif")
    assert (names.well, names.site, names.channel) == (None, None, "FITC_05")


def test_ome_xml_of_a_set_of_files_gives_each_its_own_well():
    text = ome(["a.ome.tif", "b.ome.tif"])
    for i, name in enumerate(["a.ome.tif", "b.ome.tif"]):
        names = ome_tiff.from_header(parse_description(text, name), f"d/{name}")
        check_names(names)
        assert names[:6] == ("P7", f"B{3 + i:02d}", 2, 3 + i, str(i), f"DAPI{i}")
        assert names.acquired_at == "2024-04-22T10:00:00"


def test_ome_xml_of_a_whole_plate_in_one_file_names_the_plate_only():
    names = ome_tiff.from_header(parse_description(ome(["p.ome.tif", "p.ome.tif"]), "p.ome.tif"), "d/p.ome.tif")
    assert names[:6] == ("P7", None, None, None, None, None)


def test_ome_xml_without_a_plate_falls_back_to_the_folder():
    names = ome_tiff.from_header(parse_description(ome(["a.tif"], plate=False), "a.tif"), "d/a.tif")
    assert names[:6] == ("d", None, None, None, None, "DAPI0")


def test_ome_xml_of_one_plane_among_many():
    text = """<OME><Image ID="i"><Pixels><Channel Name="A"/><Channel Name="B"/>
    <TiffData FirstC="0" FirstZ="0" FirstT="0" PlaneCount="1"><UUID FileName="x.tif">u</UUID></TiffData>
    <TiffData FirstC="1" FirstZ="4" FirstT="2" PlaneCount="1"><UUID FileName="y.tif">u</UUID></TiffData>
    </Pixels></Image></OME>"""
    names = ome_tiff.from_header(parse_description(text, "y.tif"), "y.tif")
    assert (names.channel, names.z, names.timepoint) == ("B", 4, 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ImageJ=1.53t\nimages=3",
        "<OME",
        "<OME><Image></OME>",
        '<!DOCTYPE x [<!ENTITY a "aaaa">]><OME><Plate Name="&a;"/></OME>',
        '<MetaData><!ENTITY a "b"></MetaData>',
        '<OME><Plate><Well Row="x"><WellSample><ImageRef ID="1"/></WellSample></Well></Plate><Image ID="1"/></OME>',
        "<OME>" + "x" * (17 * 2**20) + "</OME>",
    ],
    ids=["empty", "imagej", "cut", "unbalanced", "entities", "entity", "row", "huge"],
)
def test_strange_descriptions_say_nothing(text):
    assert parse_description(text, "x.tif") == {}


def test_reads_the_first_page_of_a_file_of_any_name(tmp_path):
    path = os.fsencode(tmp_path) + b"/bad\xff name.png"
    with Path(os.fsdecode(path)).open("wb") as handle:
        tifffile.imwrite(
            handle, np.zeros((4, 4), np.uint16), description=METAMORPH.format(label="B03 : Site 2"), metadata=None
        )
    assert read_header(path)["well"] == "B03"


@pytest.mark.parametrize(
    "data", [b"", b"II", b"II*\0", b"II*\0\xff\xff\xff\xff", b"\x89PNG\r\n", b"II*\0\x08\0\0\0\xff\xff" + b"\x0e" * 90]
)
def test_damaged_files_say_nothing(tmp_path, data):
    (tmp_path / "x.tif").write_bytes(data)
    assert read_header(os.fsencode(tmp_path / "x.tif")) == {}


def test_missing_files_and_dangling_links_say_nothing(tmp_path):
    (tmp_path / "x.tif").symlink_to("nowhere")
    assert read_header(os.fsencode(tmp_path / "x.tif")) == {}
    assert read_header(os.fsencode(tmp_path / "y.tif")) == {}


@pytest.mark.shared
def test_headers_of_real_metaxpress_files_agree_with_their_names(shared_images):
    for path in sorted((shared_images / "imagexpress_multisite_embl").glob("*.TIF")):
        header = read_header(os.fsencode(path))
        _, well, site, _ = path.stem.split("_")
        assert (header["well"], f"s{header['site']}", header["plate"]) == (well, site, "IM-Assays-EXP2")


@pytest.mark.shared
def test_ome_names_without_ome_xml_say_nothing(shared_images):
    path = next((shared_images / "ome_tiff_plate_embl").rglob("*.ome.tif"))
    assert read_header(os.fsencode(path)) == {}
