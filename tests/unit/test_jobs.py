from __future__ import annotations

import re
from pathlib import Path

import pytest

from tierflow.errors import ConfigError, TryAgainError
from tierflow.jobs import Part
from tierflow.lock import run_lock
from tierflow.steps import STEPS
from tierflow.steps.places import ANCIENT, PLACES

RULES = Path(__file__).resolve().parents[2] / "workflows" / "rules"


@pytest.mark.parametrize("step", STEPS)
def test_places_are_those_of_the_rules(step):
    """The table and the rule of a step name the same files; mend whichever is wrong."""
    text = (RULES / f"{step}.smk").read_text()
    assert set(PLACES[step]) == set(STEPS[step].ports())
    for port, place in PLACES[step].items():
        named = re.search(rf'^        {port}=(ancient\()?"([^"]+)"\)?,$', text, re.MULTILINE)
        assert named, f"{port} is missing in {step}.smk"
        assert named[2] == place
        assert ((step, port) in ANCIENT) == bool(named[1])


@pytest.mark.parametrize(("shards", "parts"), [(1, 1), (7, 3), (10, 10), (1000, 7)])
def test_parts_hold_every_shard_once(shards, parts):
    names = [f"{n:05d}" for n in range(shards)]
    held = [Part(n, parts).of_items(names) for n in range(1, parts + 1)]
    assert [name for part in held for name in part] == names
    assert max(map(len, held)) - min(map(len, held)) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", "1/3/5"])
def test_a_wrong_part_is_refused_with_what_was_expected(text):
    with pytest.raises(ConfigError, match="NUMBER/OF"):
        Part.parse(text)


def test_jobs_share_the_output_and_keep_whole_runs_away(tmp_path):
    with (
        run_lock(tmp_path, shared=True),
        run_lock(tmp_path, shared=True),
        pytest.raises(TryAgainError, match="in use"),
        run_lock(tmp_path),
    ):
        pass
    with run_lock(tmp_path), pytest.raises(TryAgainError), run_lock(tmp_path, shared=True):
        pass
