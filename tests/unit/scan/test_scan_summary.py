"""What a summary says of shards, and how little it must remember of each: a stream keeps all of them for weeks."""

from __future__ import annotations

import gc
from types import ModuleType

import pytest

from tierflow.io.identity import object_id
from tierflow.scan.rows import Row, to_table
from tierflow.scan.summary import part_of_rows, part_of_table, together


def rows(wells: int, *, plate: str | None = "P", first: int = 0) -> list[Row]:
    """Return two objects, of two channels, for each well."""
    found = []
    for number in range(2 * wells):
        raw = f"{plate}/{2 * first + number}.tif".encode()
        names = (plate, f"W{first + number // 2:04}", None, None, "1", f"w{number % 2 + 1}", None, None, None)
        found.append(Row(object_id("d", raw), raw.decode(), raw, 10, 7, False, raw.decode(), "generic", *names))
    return found


def held(thing: object) -> int:
    """Return the number of objects of Python that a thing keeps alive, without numbers."""
    seen, left = {}, [thing]
    while left:
        one = left.pop()
        if id(one) not in seen and not isinstance(one, int | type | ModuleType):
            seen[id(one)] = one
            left += gc.get_referents(one)
    return len(seen)


@pytest.mark.parametrize("make", [part_of_rows, lambda rows: part_of_table(to_table(rows))])
def test_a_shard_is_remembered_by_as_many_objects_however_many_wells_it_has(make) -> None:
    """Else each image of a stream would leave a name behind: hundreds of megabytes in a few million images."""
    assert held(make(rows(500))) == held(make(rows(2)))


@pytest.mark.parametrize("make", [part_of_rows, lambda rows: part_of_table(to_table(rows))])
def test_wells_and_plates_of_several_shards_count_once(make) -> None:
    """A well whose images lie in two shards is one well; the same name on another plate, or on none, is another."""
    shards = [rows(20), rows(20, first=10), rows(5, plate="Q"), rows(5, plate=None)]
    found = together({number: make(members) for number, members in enumerate(shards)}, source="/in", dataset="d")
    assert (found["wells"], found["plates"]) == (len({(r.plate, r.well) for s in shards for r in s}), 3)
    assert found["channels"] == {"w1": 50, "w2": 50}
    assert (found["objects"], found["bytes"], found["units"]) == (100, 1000, 100)


def test_objects_without_a_well_count_none() -> None:
    """And no shards at all are no wells."""
    bare = [row._replace(well=None) for row in rows(3)]
    assert together({0: part_of_rows(bare)}, source="/in", dataset="d")["wells"] == 0
    assert together({}, source="/in", dataset="d")["wells"] == 0
