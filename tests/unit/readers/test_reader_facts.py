"""What files say about their planes: scale, bits, pixel size, channel, time. And what XML may not do."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from reader_samples import samples, scene, tiff

from tierflow.io.metadata import metamorph, ome, units, xml
from tierflow.io.readers import planes
from tierflow.io.readers.load import Loaded


def read(content, name="image.tif"):
    return list(planes(Loaded(Path(name), len(content), "", bytes(content)), max_plane_mb=100))


METAMORPH = """<MetaData>
<prop id="Description" type="string" value="Exposure: 15 ms&#13;&#10;"/>
<PlaneInfo>
<prop id="spatial-calibration-state" type="bool" value="{state}"/>
<prop id="spatial-calibration-x" type="float" value="1.3668"/>
<prop id="spatial-calibration-units" type="string" value="{unit}"/>
<prop id="acquisition-time-local" type="time" value="20230221 10:42:20.139"/>
<prop id="stage-label" type="string" value="E08 : Site 2"/>
<prop id="_IllumSetting_" type="string" value="FITC_05"/>
<custom-prop id="Camera Bit Depth" type="float" value="16"/>
</PlaneInfo></MetaData>"""

OME = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:own">
<Image ID="Image:0"><AcquisitionDate>2018-08-07T12:00:00</AcquisitionDate>
<Pixels SizeX="120" SizeY="96" SizeC="2" SizeZ="3" SizeT="1" DimensionOrder="XYCZT" SignificantBits="14"
 PhysicalSizeX="325" PhysicalSizeXUnit="nm">
<Channel Name="DAPI" SamplesPerPixel="1"/><Channel Name="GFP" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>"""


def test_max_sample_value_is_the_full_scale_only_when_the_file_has_it():
    assert read(tiff(scene()))[0].full_scale is None
    assert read(tiff(scene(), extratags=[(281, 3, 1, 4095, True)]))[0].full_scale == 4095
    assert read(tiff(scene(), extratags=[(281, 3, 1, 0, True)]))[0].full_scale is None


def test_metamorph_properties():
    (plane,) = read(tiff(scene(), description=METAMORPH.format(state="on", unit="um")))
    assert plane.pixel_size_um == 1.3668
    assert plane.significant_bits == 16
    assert plane.channel_name == "FITC_05"
    assert plane.acquired_at == "2023-02-21T10:42:20.139000"
    assert metamorph.read(METAMORPH.format(state="on", unit="um")).stage_label == "E08 : Site 2"


@pytest.mark.parametrize(("state", "unit"), [("off", "um"), ("on", "pixel")])
def test_an_uncalibrated_camera_has_no_pixel_size(state, unit):
    (plane,) = read(tiff(scene(), description=METAMORPH.format(state=state, unit=unit)))
    assert plane.pixel_size_um is None


def test_ome_xml():
    data = '<TiffData FirstC="1" FirstZ="2" IFD="0"/>'
    (plane,) = read(tiff(scene(), description=OME.format(data=data)))
    assert (plane.series, plane.c, plane.z, plane.t) == (0, 1, 2, 0)
    assert plane.pixel_size_um == pytest.approx(0.325)
    assert plane.significant_bits == 14
    assert plane.channel_name == "GFP"
    assert plane.acquired_at == "2018-08-07T12:00:00"


def test_ome_xml_of_several_files_names_only_its_own_planes():
    uuid = '<TiffData FirstZ="{z}" IFD="0"><UUID FileName="{name}">urn:uuid:{id}</UUID></TiffData>'
    data = uuid.format(z=0, name="z0.tif", id="other") + uuid.format(z=2, name="z2.tif", id="own")
    (plane,) = read(tiff(scene(), description=OME.format(data=data)))
    assert plane.z == 2
    without_uuid = OME.format(data=data).replace(' UUID="urn:uuid:own"', "")
    assert ome.read(without_uuid, file_name="z0.tif").planes == {0: (0, 0, 0, 0)}


def test_ome_xml_without_tiff_data_follows_the_order_of_dimensions():
    found = ome.read(OME.format(data=""), file_name="a.tif").planes
    assert found == {c + 2 * z: (0, c, z, 0) for z in range(3) for c in range(2)}
    other_order = ome.read(OME.format(data="").replace("XYCZT", "XYZCT"), file_name="a.tif").planes
    assert other_order == {z + 3 * c: (0, c, z, 0) for z in range(3) for c in range(2)}


def test_ome_series_follow_one_another_and_forgotten_pages_are_measured(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(np.zeros((2, 32, 32), "uint8"), metadata={"axes": "CYX"})
        writer.write(np.zeros((40, 48, 3), "uint8"), photometric="rgb")
    found = read(path.read_bytes())
    assert [(p.series, p.c, p.z, p.t, p.pixels.shape) for p in found] == [
        (0, 0, 0, 0, (32, 32)),
        (0, 1, 0, 0, (32, 32)),
        (1, 0, 0, 0, (40, 48, 3)),
    ]
    data = '<TiffData FirstZ="1" IFD="0"/>'
    handle = io.BytesIO()
    with tifffile.TiffWriter(handle) as writer:
        writer.write(scene(), metadata=None, description=OME.format(data=data))
        writer.write(scene(), metadata=None)
    assert [(p.series, p.z) for p in read(handle.getvalue())] == [(0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}, 0.5),
        ({"resolution": (50_800, 50_800), "resolutionunit": "INCH"}, 0.5),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),
        ({"resolution": (20_000, 10_000), "resolutionunit": "CENTIMETER"}, None),
        ({"resolution": (2, 2), "resolutionunit": "NONE"}, None),
    ],
)
def test_resolution_counts_only_where_a_microscope_can_have_it(options, expected):
    (plane,) = read(tiff(scene(), **options))
    assert plane.pixel_size_um == (expected if expected is None else pytest.approx(expected))


def test_png_significant_bits():
    content = samples()["png16"][0]
    sbit = b"\x00\x00\x00\x01sBIT\x0c" + zlib.crc32(b"sBIT\x0c").to_bytes(4, "big")
    (plane,) = read(content[:33] + sbit + content[33:], "a.png")
    assert plane.significant_bits == 12
    assert read(content, "a.png")[0].significant_bits is None


@pytest.mark.parametrize(
    ("length", "unit", "expected"),
    [
        ("0.5", "um", 0.5),
        (0.5, "micron", 0.5),
        ("500", "nm", 0.5),
        ("0.5", "\\u00B5m", 0.5),
        ("5e-7", "m", 0.5),
        ("1", "pixel", None),
        ("0", "um", None),
        ("-1", "um", None),
        ("nan", "um", None),
        ("inf", "um", None),
        ("wide", "um", None),
        (None, "um", None),
        ("1", None, None),
    ],
)
def test_lengths(length, unit, expected):
    found = units.to_um(length, unit)
    assert found == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("text", ["", None, "yesterday", "20231321 10:00:00.000"])
def test_what_is_no_time(text):
    assert units.to_iso(text) is None


BOMB = """<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><OME>&c;</OME>"""


@pytest.mark.parametrize(
    "text",
    [BOMB, "<OME>", "<OME>&none;</OME>", "<OME>" + "\x00" + "</OME>", "<a/>" + " " * (xml.MAX_CHARACTERS + 1)],
    ids=["entities", "unclosed", "unknown entity", "control character", "too long"],
)
def test_xml_that_is_not_safe_or_not_xml_is_ignored(text):
    assert xml.parse(text) is None
    assert ome.read(text, file_name="a.tif") is None
    assert metamorph.read(text) is None


def test_a_bomb_in_a_file_does_not_keep_its_pixels_from_being_read():
    (plane,) = read(tiff(scene(), description=BOMB))
    assert np.array_equal(plane.pixels, scene())


@pytest.mark.timeout(20)
def test_absurd_sizes_in_ome_xml_cost_nothing():
    for change in (('SizeZ="3"', 'SizeZ="2147483647"'), ('SamplesPerPixel="1"', 'SamplesPerPixel="2147483647"')):
        text = OME.format(data='<TiffData PlaneCount="2147483647"/>').replace(*change)
        found = ome.read(text, file_name="a.tif")
        assert len(found.planes) <= ome.MAX_PLANES
        assert len(found.images[0].channel_names) <= 2 * ome.MAX_SAMPLES
    image = text[text.index("<Image") : text.index("</OME>")]
    assert ome.read(text.replace("</OME>", image * 2000 + "</OME>"), file_name="a.tif") is not None
