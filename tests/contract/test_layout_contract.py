from __future__ import annotations

import pytest

from tierflow import plugins
from tierflow.io.layouts import (
    bbbc,
    cellomics,
    cellprofiler,
    embl,
    generic,
    imagexpress,
    metamorph,
    ome_tiff,
    opera_phenix,
    regex,
    yokogawa,
)
from tierflow.testing.layouts import LayoutContract

BUILT_IN = [
    bbbc.LAYOUT,
    cellomics.LAYOUT,
    cellprofiler.LAYOUT,
    embl.LAYOUT,
    generic.LAYOUT,
    imagexpress.LAYOUT,
    metamorph.LAYOUT,
    ome_tiff.LAYOUT,
    opera_phenix.LAYOUT,
    yokogawa.LAYOUT,
]


class TestBbbc(LayoutContract):
    layout = bbbc.LAYOUT


class TestCellomics(LayoutContract):
    layout = cellomics.LAYOUT


class TestCellProfiler(LayoutContract):
    layout = cellprofiler.LAYOUT


class TestEmbl(LayoutContract):
    layout = embl.LAYOUT


class TestGeneric(LayoutContract):
    layout = generic.LAYOUT


class TestImageXpress(LayoutContract):
    layout = imagexpress.LAYOUT


class TestMetaMorph(LayoutContract):
    layout = metamorph.LAYOUT


class TestOmeTiff(LayoutContract):
    layout = ome_tiff.LAYOUT


class TestOperaPhenix(LayoutContract):
    layout = opera_phenix.LAYOUT


class TestYokogawa(LayoutContract):
    layout = yokogawa.LAYOUT


@pytest.mark.parametrize("layout", BUILT_IN, ids=lambda layout: layout.name)
def test_built_in_layouts_are_registered_under_their_name(layout):
    assert plugins.load("layouts", layout.name) is layout


def test_every_registered_layout_is_covered_here():
    assert set(plugins.available("layouts")) == {layout.name for layout in BUILT_IN}


def test_no_registered_layout_takes_the_name_of_the_users_pattern():
    assert regex.layout("(?P<well>x)").name not in plugins.available("layouts")
