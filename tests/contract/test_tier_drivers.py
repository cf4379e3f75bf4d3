from __future__ import annotations

import errno
import os

import pytest

from tierflow import plugins
from tierflow.testing.store_tiers import StoreDriverContract, fresh_root
from tierflow.testing.tiers import TierDriverContract
from tierflow.tiers.base import Order, Placed, Stamp
from tierflow.tiers.copy import Copy
from tierflow.tiers.link import Link
from tierflow.tiers.move import Move
from tierflow.tiers.none import Nothing
from tierflow.tiers.trash import Trash

BUILT_IN = {"copy": Copy, "link": Link, "move": Move, "none": Nothing, "trash": Trash}


class TestCopy(TierDriverContract):
    driver = Copy


class TestLink(TierDriverContract):
    driver = Link


class TestMove(TierDriverContract):
    driver = Move


class TestTrash(TierDriverContract):
    driver = Trash


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP])
class WithoutHardLinks(TierDriverContract):
    """The same on a file system that makes no hard links, where names are published by renaming."""

    @pytest.fixture(autouse=True)
    def no_hard_links(self, monkeypatch, code):
        def link(*args, **kwargs):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "link", link)


class TestCopyWithoutHardLinks(WithoutHardLinks):
    driver = Copy


class TestLinkWithoutHardLinks(WithoutHardLinks):
    driver = Link


class TestMoveWithoutHardLinks(WithoutHardLinks):
    driver = Move


class InStores(StoreDriverContract):
    """The same in stores: one in memory, and a folder by way of fsspec, as a share without links would be."""

    @pytest.fixture(params=["memory", "local"])
    def root(self, request, tmp_path):
        where = f"memory://{tmp_path.name}" if request.param == "memory" else f"local://{tmp_path}/store"
        return fresh_root(where)


class TestCopyInStores(InStores):
    driver = Copy


class TestMoveInStores(InStores):
    driver = Move


class TestTrashInStores(InStores):
    driver = Trash


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_entry_point_names_the_driver(name):
    assert plugins.load("tiers", name) is BUILT_IN[name]
    assert BUILT_IN[name].name == name


def test_the_driver_none_makes_nothing(tmp_path):
    source = tmp_path / "x.tif"
    source.write_bytes(b"x")
    driver = Nothing()
    assert (driver.places, driver.consumes) == (False, False)
    with pytest.raises(ValueError, match="makes no destination"):
        driver.publish(Order("id", source, tmp_path / "y.tif"))
    placed = Placed(source, source, "copy", None, Stamp.of(source.stat()))
    assert driver.verify(placed, hash_files=True) is None
    source.unlink()
    assert "missing" in driver.verify(placed, hash_files=True)
