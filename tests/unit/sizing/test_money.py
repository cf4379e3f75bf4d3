"""Prices and sums, checked by hand; price files with mistakes."""

from __future__ import annotations

import datetime

import pytest

from tierflow.config import Config
from tierflow.errors import ConfigError, InputMissingError
from tierflow.sizing import money
from tierflow.sizing.finish import Priced, bill, per_day, tier_rows
from tierflow.sizing.plan_table import Span, StepRow
from tierflow.sizing.prices import dump, example_file, load_prices

FILE = """
offers:
  mine:
    provider: our facility
    region: basement
    currency: CHF
    as_of: 2026-01-15
    source: letter of January
    storage:
      fast: {gb_month: 2.0, put_per_1000: 10.0, get_per_1000: 1.0}
      slow: {gb_month: 0.5, put_per_1000: 20.0, get_per_1000: 2.0, retrieval_gb: 3.0}
    tiers: {C: slow}
    egress_gb: 1.0
    compute: {vcpu_hour: 0.1, memory_gb_hour: 0.01}
"""


@pytest.fixture
def offer(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text(FILE)
    return load_prices(path).offer(None)[1]


def tiers_config(**drivers):
    return Config.model_validate({"tiers": {name: {"driver": driver} for name, driver in drivers.items()}})


def test_tiers_are_dealt_out_over_the_classes_unless_they_are_named(offer):
    names = ["A", "B", "C", "D"]
    assert [offer.class_of(name, names) for name in names] == ["fast", "fast", "slow", "slow"]
    assert offer.class_of("input", names) == "fast"
    assert offer.class_of("quarantine", names) == "slow"
    assert offer.class_of("A", ["A"]) == "fast"


def test_a_copy_is_written_and_read_back_a_link_is_neither(offer):
    size = Span.known(3e9)
    copied = money.tier_row("A", driver="copy", objects=100, size=size, offer=offer, tiers=["A", "D"])
    assert (copied.month, copied.puts, copied.gets, copied.requests) == (6.0, 100, 100, pytest.approx(1.0 + 0.1))
    linked = money.tier_row("A", driver="link", objects=100, size=size, offer=offer, tiers=["A", "D"])
    assert (linked.month, linked.puts, linked.gets, linked.requests) == (6.0, 0, 0, 0.0)


def test_large_files_are_written_in_parts():
    assert money.writes(10, 10 * 64e6) == 10
    assert money.writes(10, 10 * 65e6) == 40
    assert money.writes(0, 0) == 0


def test_copies_leave_their_source_behind_and_everything_is_read_once(offer):
    tiers = {"A": (10.0, Span.known(4e9)), "D": (30.0, Span.known(8e9))}
    rows = tier_rows(tiers, objects=40, priced=Priced("mine", offer), config=tiers_config(A="copy", D="link"))
    assert [(row.tier, row.objects, row.size.value, row.month) for row in rows] == [
        ("A", 10, 4e9, 8.0),
        ("D", 30, 8e9, 4.0),
        ("input", 10, 4e9, 8.0),
    ]
    assert [row.gets for row in rows] == [10, 0, 50]


def test_the_sums(offer):
    tiers = {"A": (10.0, Span.known(4e9)), "D": (30.0, Span.known(8e9))}
    priced = Priced("mine", offer, egress_share=0.5)
    rows = tier_rows(tiers, objects=40, priced=priced, config=tiers_config(A="link", D="link"))
    steps = [StepRow(step="extract", jobs=1, cpu_s=Span.known(7200.0), peak_mb=500.0)]
    paid = bill(steps, rows, priced=priced, size=12_000_000_000)
    assert paid.compute == pytest.approx(2 * 0.1 + 2 * 0.5 * 0.01)
    assert paid.requests == pytest.approx(40 / 1000 * 1.0)
    # 6 GB leave; two thirds of what is read lies in the slow class.
    assert paid.egress == pytest.approx(6 * (1.0 + 2 / 3 * 3.0))
    assert paid.storage_month == pytest.approx(4 * 2.0 + 8 * 0.5)
    assert paid.once == pytest.approx(paid.compute + paid.requests + paid.egress)
    assert paid.first_year == pytest.approx(paid.once + 12 * paid.storage_month)
    day = per_day(Priced("mine", offer, images_per_day=80.0), objects=40, size=12_000_000_000, cpu_hours=6.0, paid=paid)
    assert day is not None
    assert (day.cpu_hours_per_day, day.cores) == (12.0, 0.5)
    assert day.gb_per_month == pytest.approx(24 * 365.25 / 12)
    assert day.storage_after_12_months == pytest.approx(12.0 * 2 * 365.25)


def test_old_prices_are_said_to_be_old(offer):
    assert offer.age_warning(datetime.date(2027, 1, 15)) is None
    assert "366 days old" in (offer.age_warning(datetime.date(2027, 1, 16)) or "")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("gb_month: 2.0", "gb_month: -2", ["offers.mine.storage.fast.gb_month", "-2", "greater than or equal to 0"]),
        ("gb_month: 2.0", "gb_moth: 2.0", ["gb_moth", "did you mean `gb_month`"]),
        ("{C: slow}", "{C: slw}", ["tiers.C", "'slw'", "fast, slow"]),
        ("2026-01-15", "soon", ["as_of", "soon"]),
        ("currency: CHF", "currency: francs", ["currency", "francs"]),
        ("    source: letter of January\n", "", ["offers.mine.source", "missing"]),
    ],
)
def test_mistakes_in_a_price_file_are_named(tmp_path, old, new, words):
    path = tmp_path / "prices.yaml"
    path.write_text(FILE.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load_prices(path)
    for word in [*words, str(path)]:
        assert word in str(caught.value)


def test_a_price_file_or_offer_that_is_not_there(tmp_path):
    with pytest.raises(InputMissingError, match="--prices"):
        load_prices(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="on-premises, aws-eu-central"):
        load_prices(None).offer("azure")


def test_the_examples_are_dated_and_can_be_written_out_again(tmp_path):
    prices = load_prices(example_file())
    for offer in prices.offers.values():
        assert offer.source
        path = tmp_path / "own.yaml"
        path.write_text(dump(offer))
        assert load_prices(path).offer("mine")[1] == offer
