"""What a series must hold, and what of it is missing."""

from __future__ import annotations

from itertools import product

import pytest
from watched_folder import HTD

from tierflow.config import Config
from tierflow.io.layouts.base import Names
from tierflow.stream.series import (
    Expected,
    Slot,
    from_text,
    lacking,
    missing_in_words,
    place_of,
    scope_of,
    to_text,
)
from tierflow.stream.series_metadata import harmony, htd


def slots(wells=("A01",), sites=("1",), channels=("w1", "w2"), zs=(None,), times=(None,)) -> list[Slot]:
    return [Slot(*parts) for parts in product(wells, sites, channels, zs, times)]


def test_nothing_known_is_not_complete():
    assert lacking("site", slots(), Expected()) is None


def test_a_number_of_members():
    assert lacking("plate", slots(), Expected(members=2)) == []
    assert lacking("plate", slots(), Expected(members=5)) == ["3 of 5 files"]
    # Channels name what the number only counts.
    assert lacking("site", slots(channels=("w1",)), Expected(members=2, channels=("w1", "w2"))) == ["channel w2"]


def test_channels_of_a_site():
    expected = Expected(channels=("w1", "w2"))
    assert lacking("site", slots(), expected) == []
    assert lacking("site", slots(channels=("w2",)), expected) == ["channel w1"]


def test_z_planes_of_each_channel():
    expected = Expected(channels=("w1", "w2"), z_planes=3)
    assert lacking("site", slots(zs=(1, 2, 3)), expected) == []
    short = [slot for slot in slots(zs=(1, 2, 3)) if (slot.channel, slot.z) != ("w2", 3)]
    assert lacking("site", short, expected) == ["1 of 3 z planes of channel w2"]


def test_without_a_number_of_planes_channels_must_be_equally_deep_until_time_is_over():
    expected = Expected(channels=("w1", "w2"))
    stack = [*slots(channels=("w1",), zs=(1, 2, 3)), *slots(channels=("w2",), zs=(None,))]
    assert lacking("site", stack, expected) == ["2 of 3 z planes of channel w2"]
    assert lacking("site", stack, expected, guess=False) == []
    learned = Expected(channels=("w1", "w2"), learned=frozenset(slot.within("site") for slot in stack))
    assert lacking("site", stack, learned) == []
    assert lacking("site", stack[1:], learned) == ["1 of 3 z planes of channel w1"]


def test_sites_of_a_well_and_wells_of_a_plate():
    expected = Expected(channels=("w1", "w2"), sites=2, wells=2)
    whole = slots(wells=("A01", "A02"), sites=("1", "2"))
    assert lacking("plate", whole, expected) == []
    assert lacking("well", whole[:4], expected) == []
    assert lacking("well", whole[:2], expected) == ["1 of 2 sites"]
    assert lacking("plate", whole[:4], expected) == ["1 of 2 wells"]
    assert lacking("plate", whole[:-1], expected) == ["well A02 site 2 channel w2"]
    # The number of wells isn't known: nothing to go by.
    assert lacking("plate", whole, Expected(channels=("w1", "w2"), sites=2)) is None


def test_time_points_of_a_well():
    expected = Expected(channels=("w1",), sites=1, timepoints=3)
    have = slots(channels=("w1",), times=(1, 2))
    assert lacking("well", have, expected) == ["1 of 3 time points"]
    assert lacking("well", [*have, *slots(channels=("w1",), times=(3,))], expected) == []


def test_what_complete_ones_taught():
    learned = frozenset(slot.within("well") for slot in slots(sites=("1", "2")))
    expected = Expected(learned=learned)
    assert lacking("well", slots(wells=("H12",), sites=("1", "2")), expected) == []
    assert lacking("well", slots(wells=("H12",), sites=("1",)), expected) == [
        "site 2 channel w1",
        "site 2 channel w2",
    ]


@pytest.mark.parametrize("scope", ["site", "well", "plate", "timepoint"])
def test_fewer_members_than_the_least_are_never_complete(scope):
    expected = Expected(channels=("w1", "w2"), sites=2, wells=2, z_planes=2)
    whole = slots(wells=("A01", "A02"), sites=("1", "2"), zs=(1, 2), times=(1,))
    mine = {"site": whole[:4], "well": whole[:8], "plate": whole, "timepoint": whole}[scope]
    assert expected.least(scope) == len(mine)
    assert lacking(scope, mine, expected) == []
    for gone in range(len(mine)):
        assert lacking(scope, mine[:gone] + mine[gone + 1 :], expected)


def test_places_of_two_acquisitions_differ_and_names_are_for_people():
    names = Names("P7", well="B03", site="2", channel="w1", timepoint=4, acquisition="a")
    sites = {place_of("site", dataset="d", names=names._replace(channel=c)) for c in ("w1", "w2")}
    assert len(sites) == 1
    assert sites.pop().name == "B03 site 2 time point 4"
    keys = {
        place_of("site", dataset="d", names=names).key,
        place_of("site", dataset="d", names=names._replace(acquisition="b")).key,
        place_of("site", dataset="d", names=names._replace(timepoint=5)).key,
        place_of("well", dataset="d", names=names).key,
        place_of("plate", dataset="d", names=names).key,
        place_of("timepoint", dataset="d", names=names).key,
    }
    assert len(keys) == 6
    assert place_of("site", dataset="d", names=Names("P7")) is None
    assert place_of("timepoint", dataset="d", names=Names("P7", well="B03")) is None
    assert place_of("plate", dataset="d", names=Names("P7")).name == "plate P7"


def test_scope_follows_the_unit_where_no_series_is_expected():
    for unit, scope in (("file", None), ("site", "site"), ("well", "well")):
        assert scope_of(Config.model_validate({"scan": {"unit": unit}})) == scope


def test_slots_survive_the_ledger():
    for slot in (Slot("A01", "2", "w1", 3, 4), Slot(None, None, "dapi; \u00b5", None, None)):
        assert from_text(to_text(slot)) == slot


def test_messages_name_a_few_and_count_the_rest():
    many = [f"channel w{i}" for i in range(1, 8)]
    text = missing_in_words("B03", many, "30 min")
    assert text == "B03: channel w1, channel w2, channel w3, channel w4, channel w5 and 2 more are missing after 30 min"
    assert missing_in_words("B03", ["3 of 5 files"], "1 h") == "B03: 3 of 5 files are missing after 1 h"


def test_an_htd_file_says_what_an_acquisition_holds():
    assert htd(HTD) == Expected(channels=("w1", "w2", "w3"), sites=3, z_planes=1, wells=3, timepoints=2)
    assert htd(HTD.replace('"ZSeries", FALSE', '"ZSeries", TRUE')).z_planes is None
    assert htd(HTD.replace('"Sites", TRUE', '"Sites", FALSE')).sites == 1
    assert htd("nonsense") == Expected(sites=1, z_planes=1)


def test_an_index_of_harmony_lists_every_image():
    urls = [
        f"r01c0{c}f0{f}p0{p}-ch{w}sk1fk1fl1.tiff" for c in (1, 2) for f in (1, 2, 3) for p in (1, 2) for w in (1, 2)
    ]
    text = "<Images>" + "".join(f"<Image><URL>{url}</URL></Image>" for url in urls) + "</Images>"
    assert harmony(text) == Expected(channels=("ch1", "ch2"), sites=3, z_planes=2, wells=2, timepoints=1)
    assert harmony(text.replace("r01c02f03p02-ch2", "r01c02f03p02-ch1")) == Expected()
    assert harmony("") == Expected()
