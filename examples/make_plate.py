"""Make examples/plate from the ImageXpress plate of the shared images: `python examples/make_plate.py ../shared`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import tifffile

PLATE = Path("Projection-Mix/2023-02-21/1334")
TARGET = Path(__file__).parent / "plate"
# Four fields at four depths: 3 um, 18 um, 23 um and 28 um from the focal plane.
Z_STEPS = (5, 8, 9, 10)


def main(shared: Path) -> None:
    """Copy the real planes, and derive one blank, one saturated and one truncated file from them."""
    source = shared / "images" / "imagexpress_faim" / PLATE
    target = TARGET / PLATE
    for z in Z_STEPS:
        for file in sorted((source / f"ZStep_{z}").glob("*_w1*.tif")):
            (target / f"ZStep_{z}").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target / f"ZStep_{z}" / file.name)
    first = next((source / "ZStep_5").glob("*_E07_s1_w1*.tif"))
    pixels, made = tifffile.imread(first).astype(np.float64), target / "ZStep_5" / "Projection-Mix_{}_s1_w1{}.tif"
    dark = pixels[pixels < np.percentile(pixels, 60)]
    random = np.random.default_rng(7)
    blank = np.clip(random.normal(np.median(dark), dark.std(), pixels.shape).round(), 0, 65535)
    saturated = np.clip((pixels - np.median(dark)) * 200, 0, 65535)
    for well, guid, image in (
        ("E09", "0B1A9C00-0000-4000-8000-00000000E09A", blank),
        ("D07", "5A7C3A7E-0000-4000-8000-00000000D07A", saturated),
    ):
        tifffile.imwrite(str(made).format(well, guid), image.astype(np.uint16), compression="zlib", metadata=None)
    cut = Path(str(made).format("D08", "7C7A4C27-0000-4000-8000-00000000D08A"))
    cut.write_bytes(next((source / "ZStep_5").glob("*_E08_s1_w1*.tif")).read_bytes()[:170_000])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
