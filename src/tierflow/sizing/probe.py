"""Measure a sample object by object, in a process of its own that has loaded what the step `extract` loads.

`python -m tierflow.sizing.probe ORDER` reads an order (JSON) and writes an extract table and the times.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tierflow import config_io, tables
from tierflow.costs import cost_of
from tierflow.errors import ObjectError
from tierflow.io.atomic import write_text
from tierflow.io.readers import load
from tierflow.measure import make_extractors, measure_object, units_of

if TYPE_CHECKING:
    from tierflow.config import Extract
    from tierflow.features.base import Extractor
    from tierflow.measure import Row


def main(order_file: Path) -> None:
    """Carry out an order.

    Args:
        order_file: JSON with `config` and `table` (paths), `times` (path of the result), `root` (input folder),
            `objects` (object_id, path in hexadecimal and stratum of each) and `seconds` (no object is begun later).
    """
    order: dict[str, Any] = json.loads(order_file.read_text(encoding="utf-8"))
    settings = config_io.load(Path(order["config"])).extract
    extractors = make_extractors(settings)
    rows: list[Row] = []
    times: list[dict[str, float | str]] = []
    warm: set[int] = set()
    begun = time.monotonic()
    for object_id, path, stratum in order["objects"]:
        if times and time.monotonic() - begun > order["seconds"]:
            break
        source = Path(os.fsdecode(os.fsencode(order["root"]) + b"/" + bytes.fromhex(path)))
        if stratum not in warm:
            # Compiled kernels are loaded and tables of a shape are made once per job, not once per object.
            _measure(source, object_id, extractors, settings)
            warm.add(stratum)
        wall, cpu = time.perf_counter(), time.process_time()
        found = _measure(source, object_id, extractors, settings)
        times.append({"object_id": object_id, "cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall})
        rows += found
    tables.write(Path(order["table"]), tables.from_rows(rows, tables.extract_schema(units_of(extractors))))
    result = {"objects": times, "cost": cost_of("probe", step_s=time.monotonic() - begun)}
    write_text(Path(order["times"]), json.dumps(result))


def _measure(source: Path, object_id: str, extractors: list[Extractor], settings: Extract) -> list[Row]:
    try:
        loaded = load(source, hold_mb=settings.read_ahead_mb)
    except ObjectError as error:
        return measure_object(error, object_id=object_id, extractors=extractors, max_plane_mb=settings.max_plane_mb)
    return measure_object(
        loaded,
        object_id=object_id,
        extractors=extractors,
        max_plane_mb=settings.max_plane_mb,
        pixel_size_um=settings.pixel_size_um,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
