"""Readiness with real files, a real ledger and a simulated clock."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tifffile
from watched_folder import START, Folder, tiff

from tierflow.errors import ConfigError
from tierflow.stream.clock import shift_times
from tierflow.stream.ended import members_of
from tierflow.stream.readiness import Readiness
from tierflow.stream.states import State


@pytest.fixture
def folder(tmp_path):
    return lambda stream=None, **scan: Folder(tmp_path, stream, **scan)


def test_a_closed_file_is_ready_at_once_without_a_unit(folder):
    f = folder()
    f.write("a.tif", now=START)
    f.settle(START)
    row = f.row("a.tif")
    assert (row.state, row.ready_at, row.unit, row.incomplete, row.reason) == (State.READY, START, None, False, None)


def test_a_file_without_a_sign_must_stay_the_same_over_two_looks(folder):
    f = folder({"complete": {"quiet_s": 2.0}})
    f.write("a.tif", now=START, closed=False)
    assert f.settle(START) == pytest.approx(2.0)
    assert f.row("a.tif").state == State.WAITING
    f.settle(START + 1.9)
    assert f.row("a.tif").state == State.WAITING
    f.settle(START + 2.0)
    assert f.row("a.tif").state == State.READY


def test_the_second_look_finds_a_change_that_no_watcher_reported(folder):
    f = folder()
    f.write("a.tif", now=START, closed=True)
    tifffile.imwrite(f.root / "a.tif", np.zeros((20, 20), np.uint16))
    f.settle(START)
    row = f.row("a.tif")
    assert (row.state, row.changed_at, row.closed) == (State.WAITING, START, False)
    assert row.size == (f.root / "a.tif").stat().st_size
    f.settle(START + 2)
    assert f.row("a.tif").state == State.READY


def test_close_is_not_trusted_when_the_configuration_says_so(folder):
    f = folder({"complete": {"trust_close": False, "quiet_s": 3}})
    f.write("a.tif", now=START)
    assert f.settle(START) == pytest.approx(3.0)
    assert f.row("a.tif").state == State.WAITING


def test_close_is_not_trusted_on_a_share(folder, monkeypatch):
    monkeypatch.setattr("tierflow.stream.readiness.mode_for", lambda *_, **__: ("polling", "an NFS share"))
    f = folder()
    f.write("a.tif", now=START)
    f.settle(START)
    assert f.row("a.tif").state == State.WAITING


def test_a_server_whose_clock_is_ahead_delays_nothing(folder):
    f = folder({"complete": {"min_age_s": 5}})
    tiff(f.root / "a.tif")
    os.utime(f.root / "a.tif", (START + 86400, START + 86400))
    f.see("a.tif", now=START)
    f.settle(START + 4.9)
    assert f.row("a.tif").state == State.WAITING
    f.settle(START + 5)
    assert f.row("a.tif").state == State.READY


def test_a_truncated_file_waits_until_it_is_completed(folder):
    f = folder()
    whole = tiff(f.root / "a.tif").read_bytes()
    (f.root / "a.tif").write_bytes(whole[:-1])
    f.see("a.tif", now=START)
    f.settle(START)
    assert f.row("a.tif").state == State.WAITING
    assert "ends at byte" in f.row("a.tif").reason
    for later in (10, 100, 1000):
        f.settle(START + later)
        assert f.row("a.tif").state == State.WAITING
    with (f.root / "a.tif").open("ab") as handle:
        handle.write(whole[-1:])
    f.see("a.tif", now=START + 1001)
    f.settle(START + 1001)
    row = f.row("a.tif")
    assert (row.state, row.incomplete) == (State.READY, False)


def test_a_file_that_never_becomes_whole_is_taken_as_it_is_with_the_reason(folder):
    f = folder({"complete": {"give_up_s": 600}})
    whole = tiff(f.root / "a.tif").read_bytes()
    (f.root / "a.tif").write_bytes(whole[:-1])
    f.see("a.tif", now=START)
    f.settle(START + 599)
    assert f.row("a.tif").state == State.WAITING
    f.settle(START + 600)
    row = f.row("a.tif")
    assert (row.state, row.incomplete) == (State.READY, True)
    assert "half written, after 10 min without a change" in row.reason
    assert [kind for _, _, kind, _, _ in f.ledger.news(after=0)] == ["incomplete"]


def test_an_empty_file_waits_even_when_it_was_closed(folder):
    f = folder({"complete": {"give_up_s": 60}})
    (f.root / "a.tif").touch()
    f.see("a.tif", now=START)
    f.settle(START)
    assert (f.row("a.tif").state, f.row("a.tif").reason) == (State.WAITING, "the file has no bytes yet")
    f.settle(START + 60)
    assert (f.row("a.tif").state, f.row("a.tif").incomplete) == (State.READY, True)


def test_a_vanished_file_is_lost_only_while_the_root_is_there(folder, tmp_path):
    f = folder()
    f.write("a.tif", "b.tif", now=START)
    (f.root / "a.tif").unlink()
    f.settle(START)
    assert f.row("a.tif").state == State.LOST_SOURCE
    assert f.row("b.tif").state == State.READY
    f.write("c.tif", now=START + 1)
    f.root.rename(tmp_path / "elsewhere")
    f.root.mkdir()  # an empty mount point
    f.settle(START + 1)
    assert (f.row("c.tif").state, f.row("c.tif").reason) == (State.WAITING, "the input folder isn't there")


def test_one_sentinel_per_folder_and_one_per_file(folder):
    f = folder({"complete": {"sentinel": "done.txt"}})
    f.write("p/a.tif", "q/b.tif", now=START)
    (f.root / "p" / "done.txt").touch()
    f.settle(START)
    assert f.row("p/a.tif").state == State.READY
    assert (f.row("q/b.tif").state, f.row("q/b.tif").reason) == (State.WAITING, "done.txt isn't there yet")


def test_sentinel_with_the_name_of_the_file(folder):
    f = folder({"complete": {"sentinel": "{name}.done"}})
    f.write("a.tif", "b.tif", now=START)
    (f.root / "a.tif.done").touch()
    f.settle(START)
    assert (f.row("a.tif").state, f.row("b.tif").state) == (State.READY, State.WAITING)
    (f.root / "b.tif.done").touch()
    f.settle(START + 20)
    assert f.row("b.tif").state == State.READY


@pytest.mark.parametrize("sentinel", ["done.tif", "{name}", "sub/done.txt", "{stem}.png", ""])
def test_a_sentinel_is_never_an_object(folder, sentinel):
    with pytest.raises(ConfigError, match=r"stream\.complete\.sentinel"):
        folder({"complete": {"sentinel": sentinel}})


def test_ranks_give_tag_and_priority_the_first_that_matches(folder):
    ranks = [{"match": "urgent/**", "tag": "urgent", "priority": 10}, {"match": "*.tif", "priority": -1}]
    f = folder({"ranks": ranks})
    f.write("urgent/a.tif", "b.tif", now=START)
    f.settle(START)
    assert (f.row("urgent/a.tif").priority, f.row("urgent/a.tif").tag) == (10, "urgent")
    assert (f.row("b.tif").priority, f.row("b.tif").tag) == (-1, None)


def test_waiting_files_are_not_looked_at_before_they_are_due(folder, monkeypatch):
    f = folder()
    f.write(*(f"{i}.tif" for i in range(50)), now=START, closed=False)
    f.settle(START)
    looked = []
    monkeypatch.setattr("tierflow.stream.readiness.look", lambda path: looked.append(path))
    assert f.readiness.step(START + 1) == pytest.approx(1.0)
    assert looked == []


def test_a_decision_on_a_row_that_the_watcher_changed_meanwhile_is_not_written(folder, monkeypatch):
    f = folder()
    f.write("a.tif", now=START)
    decide = f.readiness.names.names

    def meanwhile(rows):
        tifffile.imwrite(f.root / "a.tif", np.zeros((20, 20), np.uint16))
        f.see("a.tif", now=START, closed=False)
        return decide(rows)

    monkeypatch.setattr(f.readiness.names, "names", meanwhile)
    f.readiness.step(START)
    assert f.row("a.tif").state == State.WAITING


# ---- series

SITE = {"series": {"expect": "site", "channels": ["w1", "w2"], "timeout_s": 1800}}


def plate(wells: int = 24, sites: int = 3, channels: int = 2):
    """Names of a plate in the order of an instrument: well by well, site by site, channel by channel."""
    for well in range(wells):
        for site in range(1, sites + 1):
            for channel in range(1, channels + 1):
                yield f"P7_{'ABCDEFGH'[well // 12]}{well % 12 + 1:02d}_s{site}_w{channel}.tif"


def test_a_plate_with_one_missing_file_makes_71_units_and_one_incomplete_by_time_out(folder):
    """24 wells x 3 sites x 2 channels; the unit is a site; one channel of one site never comes."""
    f = folder(SITE, unit="site")
    now, units = START, set()
    for name in plate():
        if name == "P7_B03_s2_w2.tif":
            continue
        f.write(name, now=now)
        f.settle(now)
        units |= {row.unit for row in f.ledger.rows("state = 'ready'")}
        f.done()
        now += 1
    assert len(units) == 71
    left = f.ledger.rows("state <> 'done'")
    assert [os.fsdecode(row.path) for row in left] == ["P7_B03_s2_w1.tif"]
    came = left[0].changed_at
    f.settle(came + 1799)
    assert f.row("P7_B03_s2_w1.tif").state == State.WAITING
    f.settle(came + 1800)
    row = f.row("P7_B03_s2_w1.tif")
    assert (row.state, row.incomplete) == (State.READY, True)
    assert row.reason == "B03 site 2: channel w2 is missing after 30 min"
    assert row.unit not in units
    assert f.ledger.query("SELECT count(*) FROM members") == [(0,)]
    news = [(kind, detail["reason"]) for _, _, kind, _, detail in f.ledger.news(after=0)]
    assert news == [("incomplete", row.reason)]


def test_members_of_a_unit_become_ready_together(folder):
    f = folder(SITE, unit="site")
    f.write("P7_A01_s1_w1.tif", now=START)
    f.settle(START)
    assert f.row("P7_A01_s1_w1.tif").state == State.WAITING
    assert "A01 site 1" in f.row("P7_A01_s1_w1.tif").reason
    f.write("P7_A01_s1_w2.tif", now=START + 5)
    f.settle(START + 5)
    rows = f.ledger.rows("state = 'ready'")
    assert len(rows) == 2
    assert len({row.unit for row in rows}) == 1
    assert {row.ready_at for row in rows} == {START + 5}


def test_a_member_that_is_written_again_holds_its_unit_back(folder):
    f = folder(SITE, unit="site")
    f.write("P7_A01_s1_w1.tif", now=START)
    f.settle(START)
    tifffile.imwrite(f.root / "P7_A01_s1_w1.tif", np.zeros((20, 20), np.uint16))
    f.write("P7_A01_s1_w2.tif", now=START + 5)
    f.settle(START + 5)
    assert f.ledger.counts()[State.READY] == 0
    f.settle(START + 7)
    assert f.ledger.counts()[State.READY] == 2
    assert not any(row.incomplete for row in f.ledger.rows("1"))


def test_a_late_member_is_handled_alone_and_says_so(folder):
    f = folder(SITE, unit="site")
    f.write("P7_A01_s1_w1.tif", now=START)
    f.settle(START)
    f.settle(START + 1800)
    assert f.done() == 1
    f.write("P7_A01_s1_w2.tif", now=START + 2000)
    f.settle(START + 2000)
    row = f.row("P7_A01_s1_w2.tif")
    assert (row.state, row.incomplete, row.unit) == (State.READY, True, f.row("P7_A01_s1_w1.tif").unit)
    assert row.reason.startswith("late: it came after A01 site 1 had been handled")


def test_a_rewritten_member_is_a_unit_of_the_same_name_handled_alone(folder):
    f = folder(SITE, unit="site")
    f.write("P7_A01_s1_w1.tif", "P7_A01_s1_w2.tif", now=START)
    f.settle(START)
    assert f.done() == 2
    tiff(f.root / "P7_A01_s1_w1.tif", 2)
    f.see("P7_A01_s1_w1.tif", now=START + 10)
    f.settle(START + 10)
    assert f.row("P7_A01_s1_w1.tif").state == State.READY
    assert "was written again" in f.row("P7_A01_s1_w1.tif").reason


def test_without_configured_channels_the_first_complete_site_teaches_the_others(folder):
    f = folder({"series": {"expect": "site", "timeout_s": 1800}}, unit="site")
    now = START
    for name in plate(wells=2):
        if name != "P7_A02_s1_w2.tif":
            f.write(name, now=now)
            f.settle(now)
        now += 1
    assert f.ledger.counts()[State.READY] == 0  # nothing says yet how many channels there are
    f.settle(START + 1802)
    assert f.ledger.counts()[State.READY] == 10  # all complete ones; that of one channel waits for its own time
    f.settle(now + 1800)
    assert [row.reason for row in f.ledger.rows("incomplete = 1")] == ["A02 site 1: channel w2 is missing after 30 min"]
    f.done()
    f.write("P7_A03_s1_w1.tif", now=now + 1900)
    f.settle(now + 1900)
    f.write("P7_A03_s1_w2.tif", now=now + 1901)
    f.settle(now + 1901)
    assert f.ledger.counts()[State.READY] == 2


def test_a_restart_between_adding_a_member_and_judging_its_series_loses_nothing(folder, monkeypatch):
    f = folder(SITE, unit="site")
    f.write("P7_A01_s1_w1.tif", "P7_A01_s1_w2.tif", now=START)
    monkeypatch.setattr(f.readiness, "_release", lambda *_: None)
    f.readiness.step(START)
    assert f.ledger.counts()[State.WAITING] == 2
    again = Readiness(f.ledger, f.config, f.root)
    again.step(START + 1)
    assert f.ledger.counts()[State.READY] == 2


def test_files_of_a_plate_wait_for_all_of_it_though_each_is_a_unit(folder):
    f = folder({"series": {"expect": "plate", "wells": 2, "sites": 2, "channels": ["w1"]}})
    names = list(plate(wells=2, sites=2, channels=1))
    f.write(*names[:-1], now=START)
    f.settle(START)
    assert f.ledger.counts()[State.READY] == 0
    f.write(names[-1], now=START + 60)
    f.settle(START + 60)
    assert f.ledger.counts()[State.READY] == 4
    assert {row.unit for row in f.ledger.rows("1")} == {None}


def test_without_a_series_rule_a_site_is_released_when_it_has_been_quiet(folder):
    f = folder({"complete": {"quiet_s": 2}}, unit="site")
    f.write("P7_A01_s1_w1.tif", now=START)
    f.settle(START)
    f.write("P7_A01_s1_w2.tif", now=START + 1.5)
    f.settle(START + 1.5)
    f.settle(START + 3.4)
    assert f.ledger.counts()[State.READY] == 0
    f.settle(START + 3.5)
    rows = f.ledger.rows("state = 'ready'")
    assert len(rows) == 2
    assert len({row.unit for row in rows}) == 1
    assert not any(row.incomplete for row in rows)


def test_a_file_without_a_well_stands_alone_beside_a_series(folder):
    f = folder(SITE, unit="site")
    f.write("P7_A01_s1_w1.tif", "overview.tif", now=START)
    f.settle(START)
    assert f.row("overview.tif").state == State.READY
    assert f.row("overview.tif").unit is None


@pytest.mark.parametrize("expect", ["site", "timepoint"])
def test_a_unit_never_spans_several_series(folder, expect):
    with pytest.raises(ConfigError, match=r"stream\.series\.expect"):
        folder({"series": {"expect": expect}}, unit="well")


def test_what_is_missing_reaches_the_commit_also_after_a_failed_attempt(folder):
    f = folder(SITE, unit="site")
    f.write("P7_A01_s1_w1.tif", now=START)
    f.settle(START)
    f.settle(START + 1800)
    batch = f.ledger.begin_batch([f.row("P7_A01_s1_w1.tif").id], shard=0)
    with f.ledger.transaction() as db:
        db.execute("UPDATE objects SET reason = 'an attempt failed'")
    (member,) = members_of(f.ledger, batch).values()
    assert (member.incomplete, member.reason) == (True, "A01 site 1: channel w2 is missing after 30 min")


def test_a_clock_that_is_set_forward_ends_no_wait(folder):
    f = folder(SITE, unit="site")
    f.write("P7_A01_s1_w1.tif", now=START)
    f.settle(START)
    shift_times(f.ledger, jump_s=86400.0, now=START + 86401)
    f.settle(START + 86400 + 1799)
    assert f.row("P7_A01_s1_w1.tif").state == State.WAITING
    f.settle(START + 86400 + 1800)
    assert f.row("P7_A01_s1_w1.tif").state == State.READY


def test_a_second_look_at_a_member_does_not_prolong_the_wait_of_its_series(folder):
    f = folder(SITE, unit="site")
    f.write("P7_A01_s1_w1.tif", now=START)
    f.settle(START)
    with f.ledger.transaction() as db:
        db.execute("UPDATE objects SET not_before = 0")
    f.settle(START + 1000)
    f.settle(START + 1800)
    assert f.row("P7_A01_s1_w1.tif").state == State.READY


def test_a_member_that_vanishes_is_lost_and_the_others_name_it(folder):
    f = folder({"series": {"expect": "site", "channels": ["w1", "w2", "w3"], "timeout_s": 60}}, unit="site")
    f.write("P7_A01_s1_w1.tif", "P7_A01_s1_w2.tif", now=START)
    f.settle(START)
    (f.root / "P7_A01_s1_w1.tif").unlink()
    f.write("P7_A01_s1_w3.tif", now=START + 10)
    f.settle(START + 10)
    assert f.row("P7_A01_s1_w1.tif").state == State.LOST_SOURCE
    assert f.row("P7_A01_s1_w2.tif").state == State.WAITING
    f.settle(START + 70)
    assert {row.reason for row in f.ledger.rows("state = 'ready'")} == {"A01 site 1: channel w1 is missing after 1 min"}
