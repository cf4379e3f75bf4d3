"""Adding up cost lines."""

from __future__ import annotations

import json

import pytest

from tierflow.sizing.actual import read_lines, sum_up, wall_of


def line(step, cpu_s, *, ended_at, process_s, process=None, peak_mb=100.0):
    known = {
        "step": step,
        "step_s": 1.0,
        "process_s": process_s,
        "ended_at": ended_at,
        "cpu_s": cpu_s,
        "peak_mb": peak_mb,
    }
    return known | ({"process": process} if process else {})


def test_lines_of_one_process_count_what_each_added():
    lines = [
        line("place", 2.0, ended_at=1010.0, process_s=10.0, process="pod:7"),
        line("index", 3.5, ended_at=1020.0, process_s=20.0, process="pod:7"),
        line("place", 4.0, ended_at=1030.0, process_s=30.0, process="pod:7", peak_mb=150.0),
    ]
    spent = sum_up(lines)
    assert list(spent) == ["place", "index"]
    assert (spent["place"].jobs, spent["place"].cpu_s, spent["place"].peak_mb) == (2, 2.5, 150.0)
    assert spent["index"].cpu_s == 1.5


def test_a_number_that_is_given_again_is_another_process():
    lines = [
        line("score", 2.0, ended_at=1010.0, process_s=10.0, process="node:7"),
        line("score", 2.0, ended_at=9010.0, process_s=10.0, process="node:7"),
        line("score", 2.0, ended_at=9011.0, process_s=10.0, process="other:7"),
    ]
    assert sum_up(lines)["score"].cpu_s == 6.0


def test_lines_without_a_process_count_whole():
    lines = [line("extract", 5.0, ended_at=10.0, process_s=5.0), line("extract", 6.0, ended_at=11.0, process_s=5.0)]
    assert sum_up(lines)["extract"].cpu_s == 11.0


def test_wall_time_is_from_the_first_begin_to_the_last_end_with_the_most_at_a_time():
    lines = [
        line("extract", 1, ended_at=10.0, process_s=10.0),
        line("extract", 1, ended_at=12.0, process_s=10.0),
        line("score", 1, ended_at=20.0, process_s=5.0),
    ]
    (row,) = wall_of(lines)
    assert (row.workers, row.seconds) == (2, pytest.approx(20.0))
    assert list(wall_of([])) == []


def test_logs_are_read_whole_repetitions_and_torn_lines_too(tmp_path):
    log = tmp_path / "extract" / "00000.log"
    log.parent.mkdir()
    rows = [line("extract", 1.0, ended_at=t, process_s=1.0) for t in (30.0, 20.0)]
    text = [
        "tierflow: some trouble",
        *map(json.dumps, rows),
        '{"step": "extract", "cpu',
        '{"step": "probe", "ended_at": 1}',
    ]
    log.write_text("\n".join(text))
    assert [found["ended_at"] for found in read_lines(tmp_path)] == [20.0, 30.0]
