"""Bring the catalogue up to date after placements were taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tierflow import tables
from tierflow.catalogue.objects_csv import write_objects_csv
from tierflow.tiers.journal import each_journal

if TYPE_CHECKING:
    from pathlib import Path

UNDONE = "undone"


def forget_undone(output: Path) -> int:
    """Mark every record whose file is no longer placed as `undone`, without a destination, and rewrite objects.csv.

    Scores and features stay as they are. Running twice changes nothing.

    Args:
        output: Output folder of a run.

    Returns:
        The number of records that were changed.
    """
    placed = pa.array(
        [record.id for _, records in each_journal(output) for record in records if record.placed is not None],
        pa.string(),
    )
    changed = 0
    for path in sorted((output / "catalogue").glob("*.parquet")):
        table = tables.read(path)
        gone = pc.and_(pc.is_valid(table["destination"]), pc.invert(pc.is_in(table["object_id"], value_set=placed)))
        if not pc.any(gone).as_py():
            continue
        changed += gone.to_pylist().count(True)
        stamp = {name: value for name, value in tables.metadata_of(table).items() if name != "schema_version"}
        for column, value in (("placement", UNDONE), ("destination", None)):
            position = table.schema.get_field_index(column)
            new = pc.if_else(gone, pa.scalar(value, pa.string()), table[column])
            table = table.set_column(position, table.schema.field(position), new)
        tables.write(path, table, **stamp)
    if changed:
        write_objects_csv(output, output / "objects.csv")
    return changed
