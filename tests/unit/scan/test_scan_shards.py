from __future__ import annotations

from collections import defaultdict
from itertools import count

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow import tables
from tierflow.errors import ConfigError, TableError
from tierflow.io.atomic import write_text
from tierflow.io.identity import object_id
from tierflow.io.layouts.base import Names
from tierflow.scan import store
from tierflow.scan.rows import Row, from_table, to_table
from tierflow.scan.shards import plan, shard_name
from tierflow.scan.units import unit_id


def row(name, unit=None, size=1):
    raw = name.encode()
    rest = ("B03", 2, 3, "1", "w1", None, None, None)
    return Row(object_id("d", raw), name, raw, size, 7, False, unit or name, "generic", ".", *rest)


def cut(rows, home=None, first_new=0, max_objects=3, max_bytes=10**9):
    shards = plan(rows, home or {}, first_new=first_new, max_objects=max_objects, max_bytes=max_bytes)
    return {number: [r.path for r in members] for number, members in shards.items()}


class TestUnits:
    NAMES = Names("P", "B03", 2, 3, "1", "w1", 5, 2)

    def unit(self, kind, **changes):
        return unit_id(kind, dataset="d", object_id="o", names=self.NAMES._replace(**changes))

    def test_a_file_is_its_own_unit(self):
        assert self.unit("file") == "o"

    @pytest.mark.parametrize("kind", ["site", "well"])
    def test_channels_and_planes_share_a_unit(self, kind):
        assert self.unit(kind) == self.unit(kind, channel="w2", z=9)
        assert len(self.unit(kind)) == 32

    @pytest.mark.parametrize(
        "change", [{"plate": "Q"}, {"well": "B04"}, {"site": "2"}, {"timepoint": 3}, {"acquisition": "2"}]
    )
    def test_a_site_differs_by_plate_well_site_time_and_acquisition(self, change):
        assert self.unit("site") != self.unit("site", **change)

    def test_a_well_holds_all_sites_and_times(self):
        assert self.unit("well") == self.unit("well", site="2", timepoint=3)
        assert self.unit("well") != self.unit("well", well="B04")
        assert self.unit("well") != self.unit("site")

    def test_without_a_well_every_file_is_a_unit(self):
        assert self.unit("site", well=None) == "o"

    def test_the_data_set_is_part_of_the_unit(self):
        assert self.unit("site") != unit_id("site", dataset="e", object_id="o", names=self.NAMES)


class TestPlan:
    def test_new_objects_fill_shards_in_order(self):
        assert cut([row(x) for x in "abcdefg"]) == {0: ["a", "b", "c"], 1: ["d", "e", "f"], 2: ["g"]}

    def test_units_are_never_split(self):
        rows = [row("a", "u1"), row("b", "u2"), row("c", "u1"), row("d", "u2"), row("e", "u3")]
        assert cut(rows) == {0: ["a", "c"], 1: ["b", "d", "e"]}

    def test_a_unit_larger_than_a_shard_makes_its_own(self):
        rows = [row("a"), *(row(f"b{i}", "big") for i in range(5)), row("c")]
        assert cut(rows) == {0: ["a"], 1: ["b0", "b1", "b2", "b3", "b4"], 2: ["c"]}

    def test_bytes_limit_a_shard_too(self):
        rows = [row("a", size=60), row("b", size=60), row("c", size=500), row("d", size=10)]
        assert cut(rows, max_bytes=100) == {0: ["a"], 1: ["b"], 2: ["c"], 3: ["d"]}

    def test_known_objects_stay_and_new_ones_get_new_shards(self):
        home = {row("a").object_id: 0, row("c").object_id: 4}
        assert cut([row("a"), row("b"), row("c")], home, first_new=5) == {0: ["a"], 4: ["c"], 5: ["b"]}

    def test_a_new_object_joins_the_shard_of_its_unit(self):
        home = {row(x).object_id: 0 for x in "abc"}
        rows = [row("a", "u"), row("b", "u"), row("c", "u"), row("d", "u")]
        assert cut(rows, home, first_new=1) == {0: ["a", "b", "c", "d"]}

    def test_a_unit_in_several_shards_is_gathered_in_the_lowest(self):
        home = {row("a").object_id: 3, row("b").object_id: 1, row("c").object_id: 3}
        assert cut([row("a", "u"), row("b", "u"), row("c")], home, first_new=4) == {1: ["a", "b"], 3: ["c"]}

    def test_too_many_shards_name_the_setting(self):
        with pytest.raises(ConfigError, match=r"scan\.shard_objects"):
            cut([row("a")], first_new=100_000)

    @given(
        units=st.lists(st.integers(0, 8), min_size=1, max_size=40),
        homes=st.lists(st.one_of(st.none(), st.integers(0, 4)), min_size=40, max_size=40),
        max_objects=st.integers(1, 6),
    )
    def test_whatever_comes_every_object_has_one_shard_and_keeps_it(self, units, homes, max_objects):
        rows = [row(f"{i:02d}", f"u{unit}") for i, unit in enumerate(units)]
        home = {r.object_id: h for r, h in zip(rows, homes, strict=False) if h is not None}
        shards = plan(rows, home, first_new=5, max_objects=max_objects, max_bytes=10**9)
        assert sorted(r for members in shards.values() for r in members) == sorted(rows)
        places = defaultdict(set)
        for number, members in shards.items():
            for r in members:
                places[r.unit_id].add(number)
                assert number <= home.get(r.object_id, number)
        assert all(len(numbers) == 1 for numbers in places.values())
        for number, members in shards.items():
            assert number < 5 or len(members) <= max_objects or len({r.unit_id for r in members}) == 1


class TestStore:
    def save(self, folder, shards, former=None, dataset="d"):
        former = former or store.load(folder)
        store.save(folder, shards, former, source="/data", dataset=dataset)

    def stamps(self, folder):
        return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}

    def test_rows_survive_the_table(self):
        rows = [row("b"), row("a")._replace(well=None, row=None, path="a\\xff", path_bytes=b"a\xff", is_link=True)]
        table = to_table(rows)
        assert table.schema.equals(tables.SCAN)
        assert from_table(table) == sorted(rows, key=lambda r: r.path_bytes)
        assert to_table([]).num_rows == 0

    def test_what_is_saved_is_loaded(self, tmp_path):
        self.save(tmp_path, {0: [row("a"), row("b")], 1: [row("c")]})
        former = store.load(tmp_path)
        assert former.home == {row("a").object_id: 0, row("b").object_id: 0, row("c").object_id: 1}
        assert list(former.rows) == [b"a", b"b", b"c"]
        assert (former.first_new, former.dataset) == (2, "d")
        assert tables.metadata_of(pq.read_table(tmp_path / "00000.parquet"))["input"] == "/data"

    def test_unchanged_shards_are_not_touched(self, tmp_path):
        self.save(tmp_path, {0: [row("a")], 1: [row("b")]})
        before = self.stamps(tmp_path)
        self.save(tmp_path, {0: [row("a")], 1: [row("b")._replace(bytes=9)], 2: [row("c")]})
        after = self.stamps(tmp_path)
        assert after["00000.parquet"] == before["00000.parquet"]
        assert after["00001.parquet"] != before["00001.parquet"]
        assert store.load(tmp_path).rows[b"b"].bytes == 9

    def test_another_input_or_data_set_changes_the_shard(self, tmp_path):
        self.save(tmp_path, {0: [row("a")]})
        before = self.stamps(tmp_path)
        self.save(tmp_path, {0: [row("a")]}, dataset="e")
        assert self.stamps(tmp_path) != before

    def test_an_emptied_shard_goes_and_its_number_is_not_used_again(self, tmp_path):
        self.save(tmp_path, {0: [row("a")], 1: [row("b")]})
        self.save(tmp_path, {0: [row("a")]})
        assert list(self.stamps(tmp_path)) == ["00000.parquet"]
        assert store.load(tmp_path).first_new == 2
        self.save(tmp_path, {2: [row("c")]})
        assert store.load(tmp_path).first_new == 3
        self.save(tmp_path, {})
        assert store.load(tmp_path).first_new == 3

    def test_leftovers_of_a_killed_scan_are_not_shards(self, tmp_path):
        self.save(tmp_path, {0: [row("a")]})
        (tmp_path / ".00001.parquet.0123abcd.part").write_bytes(b"PAR1")
        assert list(store.load(tmp_path).tables) == [0]

    def test_an_object_in_two_shards_belongs_to_the_lower(self, tmp_path):
        self.save(tmp_path, {0: [row("a"), row("b")], 1: [row("b")._replace(bytes=5)]})
        former = store.load(tmp_path)
        assert former.home[row("b").object_id] == 0
        assert former.rows[b"b"].bytes == 1

    def test_a_row_is_never_in_no_shard_while_units_are_gathered(self, tmp_path, monkeypatch):
        """A scan killed between any two writes leaves every row in at least one shard."""
        self.save(tmp_path, {0: [row("a")], 1: [row("b"), row("c")], 2: [row("d")]})
        target = {0: [row("a"), row("b"), row("d")], 1: [row("c")]}
        real, paths = tables.write, set()
        for stop_after in range(3):
            writes = count()

            def write(path, table, writes=writes, stop_after=stop_after, **metadata):
                if next(writes) >= stop_after:
                    raise KeyboardInterrupt
                real(path, table, **metadata)

            monkeypatch.setattr(tables, "write", write)
            try:
                self.save(tmp_path, target)
            except KeyboardInterrupt:
                paths.add(stop_after)
            assert set(store.load(tmp_path).rows) == {b"a", b"b", b"c", b"d"}
        assert paths == {0, 1}
        assert sorted(self.stamps(tmp_path)) == ["00000.parquet", "00001.parquet"]

    def test_damage_names_the_file(self, tmp_path):
        (tmp_path / "00000.parquet").write_bytes(b"rubbish")
        with pytest.raises(TableError, match="00000"):
            store.load(tmp_path)
        (tmp_path / "00000.parquet").unlink()
        write_text(tmp_path / ".next", "x")
        with pytest.raises(TableError, match="expected a number"):
            store.load(tmp_path)

    def test_names_have_five_digits(self):
        assert shard_name(12) == "00012"
