import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tifffile
from PIL import Image
from searched_files import Searched

import tierflow
from tierflow.errors import ConfigError, InputMissingError, QueryError, TruncatedError, UnsupportedError
from tierflow.testing.tables import make_run
from tierflow.tiers.base import ChangedError


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tierflow.open(make_run(tmp_path_factory.mktemp("run"), objects=60, shard_objects=25, catalogue=True))


@pytest.fixture
def searched(tmp_path):
    return Searched(tmp_path)


def tiff(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, **options)
    return path.read_bytes()


def only_image(searched, name, pixels, facts=None, **options):
    content = tiff(searched.input / name, pixels, **options)
    searched.add(name, content, **(facts or {"planes": 99}))
    [image] = tierflow.open(searched.write()).search().images()
    return image


def test_importing_tierflow_imports_nothing_heavy():
    script = "import tierflow, sys; print({m.partition('.')[0] for m in sys.modules} & {'pyarrow', 'numpy', 'duckdb'})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr
    assert tierflow.Results.__name__ == "Results"
    with pytest.raises(AttributeError, match="no attribute 'opn'"):
        _ = tierflow.opn


def test_a_search_knows_its_number(results):
    found = results.search("not tier:quarantine")
    assert found.count == len(found) == 57
    assert results.search("not tier:quarantine", limit=5).count == 5
    assert results.search("not tier:quarantine", limit=500).count == 57
    assert repr(found) == "Found('not tier:quarantine': 57 objects)"


def test_arrow_keeps_order_columns_and_units(results):
    table = results.search("status:ok", sort="-if", columns="if,noise_sigma", limit=10).to_arrow()
    assert table.schema.names == ["object_id", "path", "interestingness", "noise_sigma"]
    assert table.schema.field("noise_sigma").metadata[b"unit"] == b"count"
    values = table["interestingness"].to_pylist()
    assert values == sorted(values, reverse=True)
    assert len(values) == 10
    assert "path_bytes" in results.search().to_arrow().schema.names


def test_names_may_be_a_list(results):
    by_list = results.search(sort=["-if", "path"], columns=["tier", "snr"], limit=7).to_arrow()
    assert by_list.equals(results.search(sort="-if,path", columns="tier,snr", limit=7).to_arrow())


def test_pandas_keeps_whole_numbers_and_units(results):
    frame = results.search().to_pandas()
    assert len(frame) == 60
    assert frame["height"].dtype == pd.Int32Dtype()
    assert frame["height"].isna().sum() == 3
    assert frame["snr"].isna().sum() == 3
    assert frame["snr"].dtype == np.float64
    assert frame.attrs["units"]["noise_sigma"] == "count"
    assert not {"path_bytes", "flag_details"} & set(frame.columns)
    assert list(results.search(columns="tier").to_pandas().columns) == ["object_id", "path", "tier"]


def test_without_pandas_it_says_how_to_get_it(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"needs pandas: `pip install 'tierflow\[pandas\]'`"):
        results.search().to_pandas()


def test_numbers_about_a_search(results):
    found = results.search("not tier:quarantine")
    assert sum(count for _, count in found.facets("tier")) == 57
    assert sum(part.count for part in found.histogram("snr", bins=7)) == 57
    assert list(found.percentiles("if", (50,))) == [50]
    assert [row.group for row in found.stats("snr", by="channel")] == ["DAPI", "GFP"]
    values = found.to_arrow()["snr"].to_numpy()
    [whole] = found.stats("snr")
    assert (whole.minimum, whole.maximum) == (values.min(), values.max())
    assert found.percentiles("snr", (50,))[50] == pytest.approx(np.median(values), rel=1e-12)


@pytest.mark.parametrize("ask", ["facets", "histogram", "percentiles", "stats"])
def test_numbers_about_a_part_are_refused(results, ask):
    with pytest.raises(QueryError, match="has limit 5"):
        getattr(results.search(limit=5), ask)("snr")


def test_wrong_searches_are_named_at_once(results):
    for arguments in ({"query": "teir:A"}, {"columns": "teir"}, {"sort": "-teir"}):
        with pytest.raises(QueryError, match="did you mean 'tier'"):
            results.search(**arguments)
    with pytest.raises(QueryError, match="limit 0"):
        results.search(limit=0)


def test_one_object(results):
    [row] = results.search(limit=1).to_arrow().to_pylist()
    assert results.get(row["object_id"])["path"] == row["path"]
    assert results.get("0" * 32) is None
    assert results.fields.find("noise_sigma").unit == "count"


@pytest.mark.parametrize("where", ["s3://bucket/run", "", "ftp://x"])
def test_only_folders_and_addresses_can_be_opened(where):
    with pytest.raises(ConfigError, match="expected the output folder of a run, or the address"):
        tierflow.open(where)


def test_places_that_hold_no_run(tmp_path, results):
    with pytest.raises(InputMissingError, match="is no folder"):
        tierflow.open(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        tierflow.open(tmp_path / "file")
    with pytest.raises(InputMissingError, match="no catalogue yet"):
        tierflow.open(tmp_path).search()


def test_the_catalogue_folder_is_not_the_run(tmp_path):
    output = make_run(tmp_path, objects=4, catalogue=True)
    with pytest.raises(ConfigError, match="give the run's output folder"):
        tierflow.open(output / "catalogue")


def test_shape_and_type_of_a_single_plane_come_from_the_record(searched):
    facts = {"planes": 1, "height": 64, "width": 80, "samples": 1, "dtype": "uint16"}
    searched.add("gone.tif", None, **facts)
    searched.add("gone too.tif", None, **facts | {"samples": 3, "dtype": "uint8"})
    gray, colour = tierflow.open(searched.write()).search().images()[::-1]
    assert (gray.shape, gray.dtype, gray.axes, gray.ndim) == ((64, 80), np.uint16, "YX", 2)
    assert (colour.shape, colour.dtype, colour.axes) == ((64, 80, 3), np.uint8, "YXS")


def test_pixels_are_those_of_the_file(searched):
    pixels = np.arange(64 * 80, dtype=np.uint16).reshape(64, 80)
    image = only_image(searched, "caf\udce9 é/x y.tif", pixels, facts={"planes": 1})
    assert np.array_equal(np.asarray(image), pixels)
    assert np.asarray(image, dtype=np.float32).dtype == np.float32
    assert image.axes == "YX"
    assert np.array(image).flags.writeable
    with pytest.raises(ValueError, match="without making an array"):
        np.asarray(image, copy=False)


def test_the_axes_of_a_stack_are_known_before_it_is_read(searched, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 999, (3, 2, 4, 16, 20)).astype(np.uint16)
    image = only_image(searched, "x.ome.tif", pixels, ome=True, metadata={"axes": "TCZYX"})
    with monkeypatch.context() as patched:
        patched.setattr("tierflow.catalogue.image.load", None)
        assert (image.axes, image.shape, image.dtype) == ("TCZYX", pixels.shape, np.uint16)
    assert np.array_equal(np.asarray(image), pixels)


def test_axes_stand_in_one_order_whatever_the_file_has(searched):
    pixels = np.random.default_rng(0).integers(0, 999, (2, 4, 16, 20)).astype(np.uint16)
    image = only_image(searched, "x.ome.tif", pixels, ome=True, metadata={"axes": "ZCYX"})
    assert image.axes == "CZYX"
    assert np.array_equal(np.asarray(image), pixels.swapaxes(0, 1))


def test_other_kinds_are_read_to_know_their_shape(searched):
    path = searched.input / "x.png"
    path.parent.mkdir()
    Image.fromarray(np.arange(320, dtype=np.uint16).astype(np.uint8).reshape(16, 20)).save(path)
    searched.add("x.png", path.read_bytes(), planes=2)
    [image] = tierflow.open(searched.write()).search().images()
    assert (image.axes, image.shape, image.dtype) == ("YX", (16, 20), np.uint8)


def test_pages_without_names_are_depth(searched):
    pixels = np.random.default_rng(0).integers(0, 999, (5, 16, 20)).astype(np.uint16)
    image = only_image(searched, "x.tif", pixels, photometric="minisblack")
    assert (image.axes, image.shape) == ("ZYX", pixels.shape)
    assert [plane.z for plane in image.planes()] == [0, 1, 2, 3, 4]


def test_colours_are_the_last_axis(searched):
    pixels = np.random.default_rng(0).integers(0, 255, (16, 20, 3)).astype(np.uint8)
    image = only_image(searched, "x.tif", pixels, photometric="rgb")
    assert (image.axes, image.shape) == ("YXS", (16, 20, 3))
    assert np.array_equal(np.asarray(image), pixels)


def test_planes_of_different_size_make_no_array(searched):
    path = searched.input / "x.tif"
    path.parent.mkdir()
    with tifffile.TiffWriter(path) as writer:
        writer.write(np.zeros((16, 20), np.uint8))
        writer.write(np.ones((8, 10), np.uint8))
    searched.add("x.tif", path.read_bytes(), planes=2)
    [image] = tierflow.open(searched.write()).search().images()
    with pytest.raises(UnsupportedError, match=r"16 x 20 uint8, 8 x 10 uint8\): take them one by one"):
        np.asarray(image)
    assert [plane.pixels.shape for plane in image.planes()] == [(16, 20), (8, 10)]


def test_a_file_that_changed_or_broke_is_refused(searched):
    content = tiff(searched.input / "a.tif", np.arange(6400, dtype=np.uint16).reshape(64, 100))
    searched.add("a.tif", content, sha256="0" * 64)
    searched.add("b.tif", content[: len(content) // 2], status="failed", planes=0)
    changed, broken = tierflow.open(searched.write()).search().images()
    with pytest.raises(ChangedError, match="changed since it was measured"):
        np.asarray(changed)
    assert broken.shape == (64, 100)
    with pytest.raises(TruncatedError):
        np.asarray(broken)


def test_images_are_a_lazy_sequence(searched):
    for number in range(5):
        searched.add(f"{number}.tif", None, interestingness=number / 10)
    images = tierflow.open(searched.write()).search(sort="-if", columns="tier").images()
    assert [image.path.name for image in images] == ["4.tif", "3.tif", "2.tif", "1.tif", "0.tif"]
    assert len(images) == 5
    assert images[-1].path == searched.input / "0.tif"
    assert [image.path.name for image in images[1:4:2]] == ["3.tif", "1.tif"]
    assert images[0].record["tier"] == "A"
    assert images[2] in images
    with pytest.raises(IndexError):
        images[5]


def test_paths_follow_the_placement(searched, tmp_path):
    searched.add(b"\xff.tif", None)
    searched.add("y.tif", None, destination="tiers/A/y.tif")
    searched.add("z.tif", None, destination="/fast/z.tif")
    searched.write()
    found = tierflow.open(searched.output).search().paths()
    assert [str(path) for path in found] == [
        f"{searched.input}/\udcff.tif",
        f"{searched.output}/tiers/A/y.tif",
        "/fast/z.tif",
    ]
    assert all(path.is_absolute() for path in found)


def test_an_empty_search(results):
    found = results.search("tier:nothing")
    assert found.count == 0
    assert found.to_arrow().num_rows == 0
    assert isinstance(found.to_arrow(), pa.Table)
    assert found.to_pandas().empty
    assert list(found.images()) == []
    assert found.paths() == []
    assert found.histogram("snr") == []
