"""What an observer sees of running jobs."""

from __future__ import annotations

import json

from tierflow import progress
from tierflow.progress import Heartbeat, read_progress


def test_state_is_seen_at_the_start_and_at_the_end(tmp_path):
    folder = tmp_path / ".tierflow" / "progress"
    assert read_progress(folder) == {}
    heartbeat = Heartbeat(folder, "extract", "00003", 10)
    assert read_progress(folder) == {
        ("extract", "00003"): {"step": "extract", "shard": "00003", "done": 0, "total": 10, "failed": 0}
    }
    with heartbeat:
        heartbeat.advance(9)
        heartbeat.advance(failed=1)
    state = read_progress(folder)["extract", "00003"]
    assert (state["done"], state["failed"]) == (10, 1)
    assert [p.name for p in folder.iterdir()] == ["extract-00003.json"]
    assert (folder / "extract-00003.json").read_text().count("\n") == 1


def test_it_is_written_at_most_twice_a_second(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    heartbeat = Heartbeat(tmp_path, "extract", "00000", 100)
    seen = []
    for _ in range(20):
        now[0] += 0.1
        heartbeat.advance()
        seen.append(read_progress(tmp_path)["extract", "00000"]["done"])
    assert len(set(seen)) <= 5
    assert seen[-1] >= 15


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "file").touch()
    with Heartbeat(tmp_path / "file" / "progress", "extract", "00000", 1) as heartbeat:
        heartbeat.advance()
    assert read_progress(tmp_path / "file" / "progress") == {}


def test_files_that_are_no_progress_are_skipped(tmp_path):
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text("[1]")
    (tmp_path / "c.json").write_text(json.dumps({"step": "extract"}))
    Heartbeat(tmp_path, "extract", "00000", 1).close()
    assert list(read_progress(tmp_path)) == [("extract", "00000")]
