"""Numbered indices and the marks of migrations."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from tierflow.catalogue.elastic import generations as gens
from tierflow.catalogue.elastic.generations import Generation, Mark
from tierflow.catalogue.elastic.status import FOREIGN_BLOCK, GOING_ON, INTERRUPTED, note
from tierflow.errors import ConfigError

ALIAS = "lab-objects"


def generation(number, *, behind=False, mark=None, blocked=False):
    name = f"{ALIAS}-{number:06d}"
    return Generation(
        name=name,
        uuid=f"u{number}",
        behind=behind,
        blocked=blocked,
        shards=1,
        replicas=0,
        meta={"catalogue_version": "2"},
        properties={},
        mark=mark,
    )


def mark(*, owner, age_s=0.0, lease_s=100.0, state="filling"):
    at = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
    return Mark(state=state, other="x", owner=owner, at=at, lease_s=lease_s)


@pytest.fixture(scope="module")
def dead_pid():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_mark_of_another_machine_holds_until_its_lease_ends():
    assert mark(owner="elsewhere:1").running()
    assert not mark(owner="elsewhere:1", age_s=101).running()
    assert not mark(owner="elsewhere:1", age_s=-101).running()


def test_a_mark_of_this_machine_holds_while_its_process_lives(dead_pid):
    assert mark(owner=f"{platform.node()}:{os.getppid()}").running()
    assert not mark(owner=f"{platform.node()}:{dead_pid}").running()
    assert not mark(owner=f"{platform.node()}:{os.getpid()}").running()
    assert not mark(owner=f"{platform.node()}:{os.getppid()}", age_s=101).running()


def test_numbers_are_never_used_twice():
    assert gens.next_name([], ALIAS) == "lab-objects-000001"
    assert gens.next_name([generation(1, behind=True), generation(7)], ALIAS) == "lab-objects-000008"


def test_exactly_one_index_is_behind_the_alias():
    assert gens.current([generation(1), generation(2, behind=True)], ALIAS).number == 2
    with pytest.raises(ConfigError, match="no index is behind the alias lab-objects"):
        gens.current([generation(1)], ALIAS)
    with pytest.raises(ConfigError, match="stands for 2 indices"):
        gens.current([generation(1, behind=True), generation(2, behind=True)], ALIAS)


def test_an_administrator_is_told_about_blocks(dead_pid):
    assert note(generation(1)) == ""
    assert note(generation(1, blocked=True)) == FOREIGN_BLOCK
    assert note(generation(1, blocked=True, mark=mark(owner="elsewhere:1"))) == GOING_ON
    assert note(generation(1, blocked=True, mark=mark(owner=f"{platform.node()}:{dead_pid}"))) == INTERRUPTED
