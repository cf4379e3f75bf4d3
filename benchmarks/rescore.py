"""Score and tier a million objects again, from their features, without opening an image.

    python benchmarks/rescore.py                                # 1,000,000 rows in 20 shards, on one core
    python benchmarks/rescore.py --objects 100000 --shards 100

Timed are the steps `score` (every shard) and `policy`, and the choice of every object's tier. Making the tables and
the baseline isn't: neither depends on the function, the policy or the tiers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from tierflow import config_io, tables
from tierflow.config import Config
from tierflow.features.base import FeatureSettings
from tierflow.features.image_quality import ImageQuality
from tierflow.policies import choose
from tierflow.steps import baseline, policy, score


def make_tables(output: Path, *, objects: int, shards: int) -> None:
    """Write scan and extract tables: 384-well plates of two channels, 1 % of the objects failed."""
    random = np.random.default_rng(1)
    units = ImageQuality(FeatureSettings()).units()
    names = []
    for shard, members in enumerate(np.array_split(np.arange(objects), shards)):
        n = len(members)
        ids = [hashlib.sha256(str(member).encode()).hexdigest() for member in members.tolist()]
        sharp = random.random(n)
        values = {name: random.lognormal(0, 0.3, n) for name in units}
        # As on real plates: a few per cent of the images have a finding.
        values |= {
            "sharpness": 0.005 + 0.3 * sharp,
            "structure_z": random.lognormal(9, 2, n),
            "object_z": random.lognormal(6, 1, n),
            "dynamic_range": random.normal(7, 1, n),
            "black_share": np.zeros(n),
            "finite_share": np.ones(n),
            "illumination_ratio": random.lognormal(1, 0.2, n),
            "saturated_share": np.where(random.random(n) < 0.02, 0.05, 0.0),
        }
        failed = random.random(n) < 0.01
        scan = {
            "object_id": [text[:32] for text in ids],
            "path": [f"P{m // 768:05d}/well_{m // 2 % 384:03d}_w{m % 2 + 1}.tif" for m in members.tolist()],
            "bytes": np.full(n, 9_331_200),
            "unit_id": [text[:32] for text in ids],
            "plate": [f"P{m // 768:05d}" for m in members.tolist()],
            "channel": [f"w{m % 2 + 1}" for m in members.tolist()],
        }
        extract = {
            "object_id": scan["object_id"],
            "plane": np.where(failed, -1, 0).astype(np.int32),
            "c": np.zeros(n, dtype=np.int32),
            "status": np.where(failed, "failed", "ok").astype(object),
            "flag": pa.array(np.full(n, "truncated", dtype=object), mask=~failed),
            "reason": pa.array(np.full(n, "the file ends before the image does", dtype=object), mask=~failed),
            "sha256": ids,
            "bytes": scan["bytes"],
            "pixel_hash": [text[32:] for text in ids],
            **{name: pa.array(value, mask=failed) for name, value in values.items()},
        }
        names.append(f"{shard:05d}")
        for folder, columns, schema in (
            (output / "scan" / "shards", scan, tables.SCAN),
            (output / "extract", extract, tables.extract_schema(units)),
        ):
            full = {f.name: columns[f.name] if f.name in columns else pa.nulls(n, f.type) for f in schema}
            tables.write(folder / f"{names[-1]}.parquet", pa.table(full, schema=schema))
    (output / "scan" / "summary.json").write_text(json.dumps({"shards": [{"name": name} for name in names]}))


def _now() -> tuple[float, float]:
    """Return wall and processor time; on a shared machine only the second can be compared."""
    return time.perf_counter(), time.process_time()


def main() -> None:
    """Print the time of every part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--function", default="focus")
    arguments = parser.parse_args()
    # One core for everything, the threads of pyarrow included.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    with tempfile.TemporaryDirectory() as name:
        output = Path(name)
        make_tables(output, objects=arguments.objects, shards=arguments.shards)
        config = output / "config.yaml"
        config_io.write(config, Config.model_validate({"score": {"function": arguments.function}}))
        summary, extracts, scores = output / "scan" / "summary.json", output / "extract", output / "score"
        base, twins, chosen = output / "baseline.parquet", output / "duplicates.parquet", output / "policy.json"
        shards = sorted(extracts.glob("*.parquet"))
        times = {"(baseline)": _now()}
        whole = {"baseline": base, "duplicates": twins, "history": output / "history.parquet", "config": config}
        baseline.run(summary=summary, extracts=extracts, **whole)
        times["score"] = _now()
        for extract in shards:
            score.run(
                shard=output / "scan" / "shards" / extract.name,
                extract=extract,
                table=scores / extract.name,
                **whole,
            )
        times["policy"] = _now()
        policy.run(summary=summary, scores=scores, config=config, policy=chosen)
        times["tier choice"] = _now()
        resolved = choose.load(chosen)
        placed = 0
        for extract in shards:
            tiers, _ = resolved.choose_table(tables.read(scores / extract.name, choose.CHOICE_COLUMNS))
            placed += len(tiers)
        times["end"] = _now()
        assert placed == arguments.objects
        print(f"{arguments.objects:,} objects in {len(shards)} shards, function {arguments.function}, one core")
        print(f"{'':>12} {'wall s':>8} {'CPU s':>8}")
        for (part, start), (_, stop) in pairwise(times.items()):
            print(f"{part:>12} {stop[0] - start[0]:8.2f} {stop[1] - start[1]:8.2f}")
        start, stop = times["score"], times["end"]
        print(f"{'total':>12} {stop[0] - start[0]:8.2f} {stop[1] - start[1]:8.2f}  (without the baseline)")
        print(f"tiers {dict(resolved.counts)}, {resolved.failed} failed")
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
