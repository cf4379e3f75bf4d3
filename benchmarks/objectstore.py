"""An input on an object store beside the same input in a folder: listing, and measuring.

    python benchmarks/objectstore.py list --objects 20000
    python benchmarks/objectstore.py extract --objects 200

Needs AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of a server; makes a bucket of its own there and
removes it. Both places are measured in turns, in one process, after one unmeasured turn of each.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import botocore.session
import numpy as np

from tierflow.config import Config, Extract, Scan
from tierflow.io.remote_walk import walk_remote
from tierflow.io.walk import walk
from tierflow.objectstore.connect import StorePath
from tierflow.scan import store as shards
from tierflow.scan.rows import Row
from tierflow.steps.extract import extract_shard
from tierflow.tables import read
from tierflow.testing.hostile import scene, tiff

TURNS = 5
THREADS = 8


@contextmanager
def bucket() -> Iterator[tuple[Any, str]]:
    """Give a client and the name of a fresh bucket."""
    client = botocore.session.get_session().create_client("s3")
    name = f"tierflow-benchmark-{uuid.uuid4().hex[:8]}"
    client.create_bucket(Bucket=name)
    try:
        yield client, name
    finally:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=name)
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda key: client.delete_object(Bucket=name, Key=key), keys))
        client.delete_bucket(Bucket=name)


def fill(folder: Path, client: Any, name: str, files: dict[str, bytes]) -> None:
    """Write the same files to a folder and below `P/` of a bucket."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda item: client.put_object(Bucket=name, Key=f"P/{item[0]}", Body=item[1]), files.items()))


def in_turns(near: Callable[[], object], far: Callable[[], object]) -> tuple[list[float], list[float]]:
    """Time two functions in turns, in seconds."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(TURNS + 1):
        for function, kept in zip((near, far), times, strict=True):
            started = time.perf_counter()
            function()
            if turn:
                kept.append(time.perf_counter() - started)
    return times


def told(what: str, near: list[float], far: list[float], unit: str, amount: float) -> None:
    """Print medians, ranges and the ratio of the medians."""
    for place, times in (("folder", near), ("store", far)):
        middle = statistics.median(times)
        print(f"{what} {place}: {middle:.2f} s ({min(times):.2f} to {max(times):.2f}), {amount / middle:,.0f} {unit}/s")
    print(f"{what}: store takes {statistics.median(far) / statistics.median(near):.2f} x the folder's time")


def listing(objects: int) -> None:
    """Compare one listing with one walk."""
    names = {f"plate{i // 3456:02d}/t{i // 96 % 36:02d}/W{i:06d}_s1_w1.tif": b"x" for i in range(objects)}
    with tempfile.TemporaryDirectory() as scratch, bucket() as (client, name):
        fill(Path(scratch), client, name, names)
        root = StorePath(f"s3://{name}", "P")
        assert len(walk_remote(root, Scan()).files) == len(walk(Path(scratch), Scan()).files) == objects
        near, far = in_turns(lambda: walk(Path(scratch), Scan()), lambda: walk_remote(root, Scan()))
        told(f"list {objects:,}", near, far, "objects", objects)


def extracting(objects: int) -> None:
    """Compare measuring images of 1080 x 1080 pixels, 16 bit, from both places."""
    random = np.random.default_rng(7)
    images = [tiff(scene(random, (1080, 1080))) for _ in range(8)]
    files = {f"B{i:03d}_s1_w1.tif": images[i % 8] for i in range(objects)}
    with tempfile.TemporaryDirectory() as scratch, bucket() as (client, name):
        folder = Path(scratch)
        fill(folder / "P", client, name, files)
        rows = [
            Row._make((f"{i:032x}", path, path.encode(), len(data), 0, False, str(i), "generic", *[None] * 9))
            for i, (path, data) in enumerate(files.items())
        ]
        tables = {}
        for place, source in (("near", str(folder / "P")), ("far", f"s3://{name}/P")):
            shards.save(folder / place, {0: rows}, shards.Former(), source=source, dataset="P")
            tables[place] = read(next((folder / place).glob("*.parquet")))
        settings: Extract = Config().extract

        def measure(place: str) -> Any:
            return extract_shard(tables[place], settings, shard="00000", output=folder / "out")

        assert measure("near").equals(measure("far"))
        near, far = in_turns(lambda: measure("near"), lambda: measure("far"))
        told(f"extract {objects}", near, far, "MB", sum(map(len, files.values())) / 1e6)


def main() -> None:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["list", "extract"])
    parser.add_argument("--objects", type=int, default=200)
    given = parser.parse_args()
    (listing if given.what == "list" else extracting)(given.objects)


if __name__ == "__main__":
    main()
