"""Scan a folder of many files: names read, units and shards cut, no file opened.

python benchmarks/scan.py                  # 100,000 files
python benchmarks/scan.py --files 1000000
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
import uuid
from pathlib import Path

from tierflow import config_io
from tierflow.io.walk import fingerprint
from tierflow.steps import scan


def make_files(folder: Path, files: int) -> None:
    """Write empty files with the names of an ImageXpress database tree: 384 wells, 2 sites, 2 channels per plate."""
    for number in range(files):
        plate, rest = divmod(number, 1536)
        well, rest = divmod(rest, 4)
        site, channel = divmod(rest, 2)
        place = folder / f"plate_{plate:04}" / "2026-01-02" / "1000"
        if rest == 0 and well == 0:
            place.mkdir(parents=True)
        name = f"plate_{plate:04}_{chr(65 + well // 24)}{well % 24 + 1:02}_s{site + 1}_w{channel + 1}{uuid.uuid4()}.tif"
        (place / name).touch()


def timed(what: str, action: object) -> None:
    """Print how long a call takes."""
    started = time.perf_counter()
    action()  # type: ignore[operator]
    print(f"{what:32} {time.perf_counter() - started:8.2f} s")


def main() -> None:
    """Make the files, scan them, scan them again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root, output = Path(scratch) / "input", Path(scratch) / "out"
        make_files(root, options.files)
        settings = config_io.validate({"input": str(root)})
        config = output / "config.yaml"
        config_io.write(config, settings)
        print(f"{options.files:,} files")
        timed("scan", lambda: scan.run(summary=output / "scan" / "summary.json", config=config))
        timed("scan again, nothing new", lambda: scan.run(summary=output / "scan" / "summary.json", config=config))
        timed("fingerprint (start of every run)", lambda: fingerprint(root, settings, output=output))
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
