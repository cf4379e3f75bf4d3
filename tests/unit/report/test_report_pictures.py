from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tierflow.report.gallery import choose, locate, tile
from tierflow.report.images import busiest, display_range, picture, stretch
from tierflow.report.objects import Codes, Objects
from tierflow.report.reading import Unshown, read_picture_plane


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def some_objects(score: list[float | None], flags: dict[str, list[int]] | None = None) -> Objects:
    n = len(score)
    values = np.array([np.nan if s is None else s for s in score])
    masks = {name: np.isin(np.arange(n), rows) for name, rows in (flags or {}).items()}
    none = Codes([], np.full(n, -1, dtype=np.int32))
    return Objects(
        interestingness=values,
        size=np.ones(n, dtype=np.int64),
        measured=np.isfinite(values),
        tier=none,
        plate=none,
        channel=none,
        well=(np.zeros(n, np.int32), np.zeros(n, np.int32)),
        timepoint=np.full(n, np.nan),
        acquired_at=none,
        flags=masks,
        features={},
    )


def test_brightness_is_stretched_and_clipped() -> None:
    pixels = np.linspace(1000, 2000, 10_001, dtype=np.float32).reshape(73, 137)
    low, high, median = display_range(pixels)
    assert (low, high, median) == pytest.approx((1005, 1998, 1500), abs=0.5)
    shown = stretch(pixels, low=low, high=high)
    assert shown.min() == 0
    assert shown.max() == 255
    assert np.all(np.diff(shown.ravel().astype(int)) >= 0)


def test_nan_is_black_and_a_constant_plane_is_gray() -> None:
    pixels = np.array([[0.0, 1.0], [np.nan, 2.0]])
    assert stretch(pixels, low=0, high=2).tolist() == [[0, 127], [0, 255]]
    assert set(stretch(np.full((4, 4), 7), low=7, high=7).ravel()) == {96}
    with pytest.raises(ValueError, match="no finite pixel"):
        display_range(np.full((3, 3), np.nan))


def test_complex_pixels_have_no_picture() -> None:
    """One such file among the quarantined ones must not end the report, nor a thumbnail's answer."""
    with pytest.raises(ValueError, match="complex64 have no brightness"):
        picture(np.ones((8, 8), dtype=np.complex64), edge=480, detail=0)


def test_a_small_plane_keeps_its_pixels() -> None:
    made = picture(np.arange(64 * 80, dtype=np.uint16).reshape(64, 80), edge=480, detail=240)
    assert (made.width, made.height) == (80, 64)
    assert made.detail == ""
    assert decoded(made.whole).size == (80, 64)


def test_a_large_plane_is_reduced_and_has_a_detail_at_its_own_pixels() -> None:
    rng = np.random.default_rng(0)
    pixels = np.full((1000, 1500), 100, dtype=np.uint16)
    pixels[700:900, 1200:1400] = rng.integers(100, 4000, (200, 200))
    made = picture(pixels, edge=480, detail=240)
    assert (made.width, made.height) == (480, 320)
    assert decoded(made.detail).size == (240, 240)
    left, top, width, height = made.box
    assert width == pytest.approx(100 * 240 / 1500)
    assert height == pytest.approx(100 * 240 / 1000)
    # The detail lies where the structure is.
    assert left + width > 100 * 1200 / 1500
    assert top + height > 100 * 700 / 1000
    assert left + width <= 100.001
    assert top + height <= 100.001


def test_a_crowded_page_shows_no_detail() -> None:
    shown = picture(np.arange(400 * 300, dtype=np.uint16).reshape(400, 300), edge=100, detail=0)
    assert (shown.detail, shown.width, shown.height) == ("", 75, 100)


def test_colour_stays_colour() -> None:
    pixels = np.zeros((50, 60, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(60) * 4
    made = decoded(picture(pixels, edge=100, detail=0).whole).convert("RGB")
    red, green, _ = made.getpixel((59, 25))
    assert red > 180
    assert green < 60


def test_the_busiest_piece_is_found() -> None:
    gray = np.zeros((300, 400), dtype=np.uint8)
    gray[220:280, 320:380] = np.random.default_rng(0).integers(0, 255, (60, 60))
    assert busiest(gray, 100) == (300, 200)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_what_is_left_of_a_truncated_file_is_shown(tmp_path: Path, compression: str | None) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 4000, (400, 300), dtype=np.uint16)
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, pixels, rowsperstrip=20, compression=compression)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    shown, note = read_picture_plane(path, index=0, max_plane_mb=100, damaged=True)
    assert shown.shape == pixels.shape
    np.testing.assert_array_equal(shown[:200], pixels[:200])
    assert not shown[-100:].any()
    assert "damaged" in note


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "no bytes"), (b"hello world", "nothing could be read"), (b"II*\x00\xff\xff\xff\xff", "nothing could")],
)
def test_a_hopeless_file_has_a_reason_instead(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "bad.tif"
    path.write_bytes(content)
    with pytest.raises(Unshown, match=reason):
        read_picture_plane(path, index=0, max_plane_mb=100, damaged=True)


def test_the_deciding_plane_is_read(tmp_path: Path) -> None:
    stack = np.stack([np.full((20, 30), i, dtype=np.uint8) for i in range(5)])
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, stack, photometric="minisblack")
    shown, note = read_picture_plane(path, index=3, max_plane_mb=100, damaged=False)
    assert set(shown.ravel()) == {3}
    assert note == ""
    with pytest.raises(Unshown, match="plane 9"):
        read_picture_plane(path, index=9, max_plane_mb=100, damaged=False)


def test_best_and_worst_share_no_object() -> None:
    score = [0.1, 0.9, 0.5, 0.7, 0.3, None]
    picks = {pick.key: pick.indices for pick in choose(some_objects(score), 2)}
    assert picks == {"best": [1, 3], "worst": [0, 4], "quarantine": [5]}


def test_objects_of_equal_score_are_taken_evenly_and_counted() -> None:
    picks = choose(some_objects([1.0] * 100), 5)
    assert len(set(picks[0].indices)) == 5
    assert min(picks[0].indices) < 20
    assert max(picks[0].indices) > 80
    assert "100 objects share the score 1; 5 of them stand here" in picks[0].about
    assert not set(picks[0].indices) & set(picks[1].indices)


def test_rare_failures_are_not_crowded_out() -> None:
    flags = {"truncated": list(range(99)), "empty_file": [99]}
    picks = choose(some_objects([None] * 100, flags), 4)
    assert [pick.key for pick in picks] == ["quarantine"]
    assert 99 in picks[0].indices
    assert "4 of the 100" in picks[0].about


def test_no_pictures_when_none_are_wanted() -> None:
    assert choose(some_objects([0.5, None]), 0) == []


def test_a_file_is_found_at_its_destination_first(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tif").write_bytes(b"1")
    moved = tmp_path / "tiers" / "a.tif"
    row = {"path": "a.tif", "path_bytes": b"a.tif", "destination": str(moved)}
    assert locate(row, input_root=tmp_path / "in", output=tmp_path) == tmp_path / "in" / "a.tif"
    moved.parent.mkdir()
    moved.write_bytes(b"1")
    assert locate(row, input_root=tmp_path / "in", output=tmp_path) == moved
    assert locate(row | {"destination": "tiers/a.tif"}, input_root=None, output=tmp_path) == moved
    with pytest.raises(Unshown, match="isn't where"):
        locate({"path": "gone\x00.tif"}, input_root=tmp_path, output=tmp_path)


def test_values_stand_beside_what_is_usual() -> None:
    row = {
        "path": "p/a.tif",
        "status": "ok",
        "plate": "p",
        "channel": "c",
        "interestingness": 0.5,
        "snr": 13.0,
        "entropy_bits": 2.0,
    }

    def show(_: object) -> None:
        raise Unshown("no bytes")

    made = tile(
        row,
        number_of=0,
        features=["snr", "entropy_bits", "absent"],
        baseline={("p", "c", "snr"): (10.0, 2.0)},
        show=show,
    )
    snr, entropy = made.details["features"]
    assert (snr["value"], snr["median"], snr["z"]) == ("13", "10", 1.5)
    assert "z" not in entropy
    assert made.missing == "no bytes"
    assert made.picture is None
