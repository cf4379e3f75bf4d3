"""What tiers in object stores refuse, tell a store, and give back, without a server."""

from __future__ import annotations

import builtins
import sys

import pytest

from placing_world import World, tree
from tierflow.catalogue.bring import Bringer, Wanted
from tierflow.config import Tier
from tierflow.errors import ConfigError, TryAgainError
from tierflow.objectstore.connect import StorePath, connect, is_url, place_at
from tierflow.objectstore.s3_parts import part_bytes
from tierflow.objectstore.uploads import FOLDER, token_for
from tierflow.tiers.link import Link
from tierflow.tiers.move import Move
from tierflow.tiers.names import tier_root
from tierflow.tiers.undo import undo
from tierflow.tiers.verify import verify
from tierflow.tiers.wants import labels_of


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "w")
    world.drivers |= {"A": "move", "B": "copy"}
    world.roots |= {"A": f"memory://{tmp_path.name}/A", "B": f"memory://{tmp_path.name}/B"}
    world.add("x.tif", b"content of x")
    world.add("y.tif", b"content of y", tier="B")
    world.measure()
    return world


def test_place_verify_fetch_and_undo(world, tmp_path):
    before = tree(world.input)
    rows = world.place()
    assert rows["x.tif"]["destination"] == f"memory://{tmp_path.name}/A/x.tif"
    assert verify(world.output).ok
    place = place_at(rows["x.tif"]["destination"])
    bringer = Bringer(tmp_path / "to", how="copy", verify=True, dry_run=False)
    import hashlib

    file = Wanted(world.id_of("x.tif"), "run", b"x.tif", place, hashlib.sha256(b"content of x").hexdigest(), 12)
    assert bringer.bring(file).status == "copied"
    assert (tmp_path / "to/x.tif").read_bytes() == b"content of x"
    linker = Bringer(tmp_path / "links", how="link", verify=True, dry_run=False)
    assert "--link" in linker.bring(file).problem
    assert undo(world.output, dry_run=False).conflicts == []
    assert tree(world.input) == before


def test_a_store_that_is_away_is_never_taken_for_a_missing_file(world, monkeypatch):
    world.place()
    store = place_at(world.roots["A"]).store

    def away(key):
        raise TryAgainError(f"can't look at {key}: run again")

    with monkeypatch.context() as patch:
        patch.setattr(store, "head", away)
        for act in (world.place, lambda: verify(world.output), lambda: undo(world.output, dry_run=False)):
            with pytest.raises(TryAgainError, match="run again"):
                act()
    assert not (world.input / "x.tif").exists()
    assert verify(world.output).ok


def test_a_key_that_is_written_anew_is_left_alone(world):
    rows = world.place()
    place = place_at(rows["y.tif"]["destination"])
    place.store._system.pipe_file(place.store._path(place.key), b"edited by someone")
    world.rescore({"y.tif": "A"})
    world.place()
    assert place.read_bytes() == b"edited by someone"


def test_links_need_folders(tmp_path):
    with pytest.raises(ConfigError, match=r"driver 'link'.*choose the driver `copy`"):
        tier_root(tmp_path, "A", tier=Tier(root="s3://bucket/a"), driver=Link())
    assert tier_root(tmp_path, "A", tier=Tier(root="s3://b/a"), driver=Move()) == StorePath("s3://b", "a")
    assert tier_root(tmp_path, "A", tier=Tier(root="file:///fast/a"), driver=Link()).as_posix() == "/fast/a"
    with pytest.raises(ConfigError, match="names no bucket"):
        tier_root(tmp_path, "A", tier=Tier(root="s3:///a"), driver=Move())


@pytest.mark.parametrize(("url", "module", "extra"), [("s3://b", "botocore", "s3"), ("gs://b", "gcsfs", "gcs")])
def test_a_missing_library_is_named(url, module, extra, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == module:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    connect.cache_clear()
    with pytest.raises(ConfigError, match=rf'pip install "tierflow\[{extra}\]"'):
        connect(url)
    connect.cache_clear()


def test_labels():
    tier = Tier(root="s3://b", storage_class="GLACIER_IR", tags={"project": "p53 (new)"})
    labels = labels_of(tier, tier="A", object_id="1" * 32, dataset="plate, 7")
    assert labels.storage_class == "GLACIER_IR"
    assert labels.tags == {
        "tierflow_tier": "A",
        "tierflow_object_id": "1" * 32,
        "tierflow_dataset": "plate_ 7",
        "project": "p53 _new_",
    }
    assert labels_of(Tier(root="s3://b", tags=None), tier="A", object_id="1", dataset="d").tags == {}
    assert labels_of(Tier(root="/folder"), tier="A", object_id="1", dataset="d").tags == {}
    with pytest.raises(ValueError, match="not beginning with"):
        Tier(tags={"tierflow_tier": "x"})


def test_parts_stay_below_ten_thousand():
    for size in (1, 16 << 20, 200 << 30, 5 << 40):
        assert -(-size // part_bytes(size)) <= 10_000


def test_a_run_knows_its_own_uploads_and_nobody_elses(tmp_path):
    mine, other = tmp_path / "mine" / FOLDER, tmp_path / "other" / FOLDER
    assert token_for(mine, "o", "s") == token_for(mine, "o", "s")
    assert len({token_for(folder, "o", "s") for folder in (mine, other, None)}) == 3


def test_store_paths_are_no_paths_of_the_file_system():
    place = place_at("s3://bucket/a/x.tif")
    with pytest.raises(TypeError):
        open(place)  # noqa: PTH123, SIM115
    assert (place.name, place.stem, place.suffix, str(place.parent)) == ("x.tif", "x", ".tif", "s3://bucket/a")
    assert str(place.parent / "raw \udcff.tif") == "s3://bucket/a/raw \\xff.tif"
    assert place.is_relative_to(place_at("s3://bucket/a"))
    assert not place.is_relative_to(place_at("s3://bucket/a/x"))
    assert not place.is_relative_to(place_at("s3://bucket-2/a"))
    assert not is_url("a:/b//c")
