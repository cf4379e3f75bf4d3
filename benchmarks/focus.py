"""Does the default score find focus? `focus` and `haste` side by side on images whose focus is known.

    python benchmarks/focus.py [FOLDER]              # FOLDER: the shared images, default ../shared/images

Every image is read and measured by tierflow, and scored by the steps `baseline` and `score` as in a run. Less light is
simulated: signal above the offset x share, Poisson noise, read noise of sd 8, whole counts.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import spearmanr

from tierflow import config_io, tables
from tierflow.config import Config
from tierflow.features.base import FeatureSettings
from tierflow.features.image_quality import ImageQuality
from tierflow.io.plane import Plane
from tierflow.io.readers import load, planes
from tierflow.steps import baseline, score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tierflow.features.base import Measurement

LIGHT = (1.0, 0.1, 0.02)
SEEDS = 3
READ_NOISE = 8.0
FUNCTIONS = ("focus", "haste")
EXTRACTOR = ImageQuality(FeatureSettings())


@dataclass(frozen=True)
class Image:
    """A plane with what is known of it."""

    path: str
    plate: str
    channel: str
    plane: Plane
    measured: Measurement


def measure(path: str, plate: str, channel: str, plane: Plane) -> Image:
    """Measure a plane."""
    return Image(path=path, plate=plate, channel=channel, plane=plane, measured=EXTRACTOR.measure(plane))


def read(folder: Path, row: dict[str, str], plate: str) -> Image:
    """Read the first plane of a file of `index.csv`."""
    plane = next(iter(planes(load(folder / row["path"]), max_plane_mb=1024)))
    return measure(row["path"], plate, row["channel"], plane)


def dimmed(image: Image, share: float, random: np.random.Generator) -> Image:
    """Return the image as a camera would see it with a share of the light."""
    if share == 1:
        return image
    pixels = image.plane.pixels.astype(np.float64)
    offset = np.percentile(pixels, 0.1)
    signal = random.poisson(np.maximum(pixels - offset, 0) * share)
    noisy = signal + offset + random.normal(0, READ_NOISE, pixels.shape)
    plane = replace(image.plane, pixels=np.clip(np.rint(noisy), 0, 65535).astype(np.uint16))
    return measure(image.path, image.plate, image.channel, plane)


def empty_frames(plate: str, random: np.random.Generator) -> list[Image]:
    """Return frames without anything on them: constant, read noise, shot noise."""
    shapes = [(520, 696), (512, 512), (256, 256)]
    pixels = [np.full((520, 696), value) for value in (0, 110, 4095)]
    pixels += [random.normal(110, sd, shape) for shape in shapes for sd in (2, 8, 30)]
    pixels += [random.poisson(mean, shape) for shape in shapes for mean in (1, 20, 1000)]
    return [
        measure(f"{plate}/empty/{n}.tif", plate, "w1", Plane(np.clip(np.rint(p), 0, 65535).astype(np.uint16)))
        for n, p in enumerate(pixels)
    ]


def scored(images: list[Image], function: str) -> NDArray[np.float64]:
    """Return the interestingness of images that are one run, by the steps `baseline` and `score`."""
    with tempfile.TemporaryDirectory() as name:
        output = Path(name)
        shards, extracts = output / "scan" / "shards", output / "extract"
        rows = [
            {"object_id": str(n), "unit_id": str(n), "path": i.path, "plate": i.plate, "channel": i.channel, "bytes": 1}
            for n, i in enumerate(images)
        ]
        tables.write(shards / "00000.parquet", tables.from_rows(rows, tables.SCAN))
        rows = [
            {"object_id": str(n), "plane": 0, "c": 0, "status": "ok", **image.measured.features}
            for n, image in enumerate(images)
        ]
        tables.write(extracts / "00000.parquet", tables.from_rows(rows, tables.extract_schema(EXTRACTOR.units())))
        summary = output / "scan" / "summary.json"
        summary.write_text(json.dumps({"shards": [{"name": "00000"}]}))
        config = output / "config.yaml"
        config_io.write(config, Config.model_validate({"score": {"function": function}}))
        base, twins = output / "baseline.parquet", output / "duplicates.parquet"
        whole = {"baseline": base, "duplicates": twins, "history": output / "history.parquet", "config": config}
        baseline.run(summary=summary, extracts=extracts, **whole)
        shard, extract = shards / "00000.parquet", extracts / "00000.parquet"
        table = output / "score.parquet"
        score.run(shard=shard, extract=extract, table=table, **whole)
        return tables.read(table)["interestingness"].to_numpy()


def auc(good: NDArray[np.float64], bad: NDArray[np.float64]) -> float:
    """Return the share of pairs in which the good one is higher, ties counting half."""
    return float(np.mean((good[:, None] > bad) + 0.5 * (good[:, None] == bad)))


def brenner(plane: Plane) -> float:
    """Return Brenner's gradient over the variance, the classic measure."""
    pixels = plane.pixels.astype(np.float64)
    spread = pixels.var()
    return float(np.mean((pixels[:, 2:] - pixels[:, :-2]) ** 2) / spread) if spread else 0.0


def compare_light(folder: Path, index: list[dict[str, str]]) -> None:
    """Print AUC of in focus against blurred, and where empty frames rank, at every light level."""
    chosen = [row for row in index if row["source"] == "bbbc006_miq"]
    sharp = np.array([row["truth"] == "in_focus" for row in chosen])
    bright = [read(folder, row, "one") for row in chosen]
    print("\nbbbc006_miq: 9 in focus, 24 blurred, 21 empty frames beside them; worst of the seeds")
    print("as one plate, and as two: sharp ones with the empty frames, and blurred ones")
    print(" light plates function   AUC       in focus        blurred  highest empty")
    for share in LIGHT:
        found: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
        for seed in range(1 if share == 1 else SEEDS):
            random = np.random.default_rng(seed)
            together = [dimmed(image, share, random) for image in bright] + empty_frames("one", random)
            apart = [
                image if n >= len(sharp) or sharp[n] else replace(image, plate="two")
                for n, image in enumerate(together)
            ]
            for name in FUNCTIONS:
                found.setdefault(("one", name), []).append(scored(together, name))
                found.setdefault(("two", name), []).append(scored(apart, name))
            found.setdefault(("-", "Brenner"), []).append(np.array([brenner(image.plane) for image in together]))
        for (plates, name), runs in found.items():
            good = np.array([run[: len(sharp)][sharp] for run in runs])
            bad = np.array([run[: len(sharp)][~sharp] for run in runs])
            empty = np.max([run[len(sharp) :] for run in runs])
            worst = min(auc(g, b) for g, b in zip(good, bad, strict=True))
            spans = "".join(f"{x.min():8.3f} -{x.max():6.3f}" for x in (good, bad))
            print(f"{share:6.0%} {plates:>6} {name:>8} {worst:5.3f}{spans}{empty:15.3f}")


def compare_series(folder: Path, index: list[dict[str, str]]) -> None:
    """Print |Spearman| of the score with defocus, per stack and on the mean."""
    plate = [row for row in index if row["source"] == "imagexpress_faim" and "Projection-Mix" in row["path"]]
    smear = [row for row in index if row["source"] == "smear_sharpness"]
    for title, rows, key in (
        ("imagexpress_faim: 8 z stacks, on their whole plate", plate, ("well", "site", "channel")),
        ("smear_sharpness: bright-field series", smear, ("source",)),
    ):
        images = [read(folder, row, "plate") for row in rows]
        stacks: dict[tuple[str, ...], list[int]] = {}
        for n, row in enumerate(rows):
            if row["truth"]:
                stacks.setdefault(tuple(row[name] for name in key), []).append(n)
        print(f"\n{title}: |Spearman| with defocus")
        values = {name: scored(images, name) for name in FUNCTIONS}
        values["Brenner"] = np.array([brenner(image.plane) for image in images])
        for name, found in values.items():
            each = [
                abs(spearmanr(found[members], [abs(float(rows[n]["truth"])) for n in members]).statistic)
                for members in stacks.values()
            ]
            print(f"{name:>9} mean {np.mean(each):.3f}   {' '.join(f'{value:.2f}' for value in each)}")


def show_distributions(folder: Path, index: list[dict[str, str]]) -> None:
    """Print how the scores of whole plates spread over [0, 1] and the four default tiers."""
    print(f"\nscores of real plates{'':<20} {'n':>4}  min  25 %  median 75 %  max      A   B   C   D")
    for source in sorted({row["source"] for row in index}):
        rows = [row for row in index if row["source"] == source]
        plates = [row["path"].split("/")[1] if source == "imagexpress_faim" else source for row in rows]
        images = [read(folder, row, plate) for row, plate in zip(rows, plates, strict=True)]
        found = scored(images, "focus")
        groups = [f"{image.plate} {image.channel}" for image in images]
        for group in sorted(set(groups)):
            mine = found[[g == group for g in groups]]
            spread = "  ".join(f"{q:.2f}" for q in np.quantile(mine, [0, 0.25, 0.5, 0.75, 1]))
            tiers = np.histogram(mine, [0, 0.25, 0.5, 0.75, 1.0])[0][::-1]
            print(f"{group:<41} {len(mine):4}  {spread}  {' '.join(f'{n:3}' for n in tiers)}")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parents[1].parent / "shared" / "images"
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    folder = parser.parse_args().folder
    with (folder / "index.csv").open(newline="", encoding="utf-8") as handle:
        index = list(csv.DictReader(handle))
    compare_light(folder, index)
    compare_series(folder, index)
    show_distributions(folder, index)


if __name__ == "__main__":
    main()
