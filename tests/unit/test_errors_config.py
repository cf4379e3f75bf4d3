"""Configuration and errors: every message names the key, the value and the remedy."""

from __future__ import annotations

import errno

import pytest

from tierflow.cli import run_cli
from tierflow.config import Config
from tierflow.config_io import dump, load, merge, validate
from tierflow.errors import (
    ConfigError,
    InputMissingError,
    TierflowError,
    TryAgainError,
    UnreadableError,
    exit_code_of,
)


def message(tree) -> str:
    with pytest.raises(ConfigError) as caught:
        validate(tree)
    return str(caught.value)


def test_unknown_key_is_named_with_the_key_that_was_meant():
    text = message({"scan": {"shard_objcts": 3}})
    assert "`scan.shard_objcts`" in text
    assert "value 3" in text
    assert "did you mean `shard_objects`?" in text


def test_wrong_unit_in_a_name_points_to_the_right_one():
    text = message({"extract": {"pixel_size_nm": 325}})
    assert "`extract.pixel_size_nm`" in text
    assert "`pixel_size_um`" in text
    assert "`shard_mb`" in message({"scan": {"shard_gb": 1}})


def test_a_unit_in_the_value_is_explained():
    text = message({"extract": {"pixel_size_um": "325 nm"}})
    assert "'325 nm'" in text
    assert "plain number in micrometres" in text


def test_every_wrong_key_is_reported_at_once():
    text = message({"polcy": {}, "scan": {"unit": "files"}, "run": {"max_failed_share": 1.5}})
    assert "did you mean `policy`?" in text
    assert "`scan.unit` is 'files'" in text
    assert "`run.max_failed_share` is 1.5" in text
    assert len(text.splitlines()) == 3


def test_unknown_tier_of_a_flag_lists_the_tiers():
    assert "no tier 'Z'; tiers are A, B, C, D" in message({"policy": {"flag_tiers": {"blank": "Z"}}})


def test_the_quarantine_is_not_a_tier_to_configure():
    assert "own section" in message({"tiers": {"quarantine": {}}})


def test_regex_layout_needs_its_pattern():
    assert "go together" in message({"scan": {"layout": "regex"}})
    assert "not a regular expression" in message({"scan": {"layout": "regex", "pattern": "("}})
    assert "no named group" in message({"scan": {"layout": "regex", "pattern": "a(b)"}})


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        ("scan: [", ConfigError, "not readable as YAML"),
        ("- a\n- b", ConfigError, "expected keys"),
        (None, InputMissingError, "not found"),
    ],
)
def test_files_that_are_no_configuration(tmp_path, content, kind, text):
    path = tmp_path / "my config.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(kind, match=text) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_the_whole_configuration_survives_a_round_trip(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(dump(Config()))
    assert load(path) == Config()


def test_merge_replaces_tiers_whole_and_other_sections_by_key():
    base = {"tiers": {"A": {}, "B": {}}, "scan": {"unit": "file", "shard_mb": 5}}
    merged = merge(base, {"tiers": {"hot": {}}, "scan": {"unit": "site"}})
    assert merged == {"tiers": {"hot": {}}, "scan": {"unit": "site", "shard_mb": 5}}


def test_digest_depends_on_the_named_sections_only():
    one, other = Config(), validate({"report": {"title": "x"}})
    assert one.digest(["score"]) == other.digest(["score"])
    assert one.digest() != other.digest()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 78),
        (InputMissingError("x"), 66),
        (TryAgainError("x"), 75),
        (TierflowError("x"), 70),
        (OSError(errno.ENOSPC, "full"), 75),
        (OSError(errno.EACCES, "no"), 70),
        (ValueError("x"), 70),
    ],
)
def test_exit_codes(error, code):
    assert exit_code_of(error) == code


def test_a_bad_object_is_not_an_operating_system_error():
    assert not isinstance(UnreadableError("x"), OSError)


def test_a_stopped_command_says_that_nothing_is_lost(monkeypatch, capsys):
    def stopped(folder: str):
        raise KeyboardInterrupt

    monkeypatch.setattr("tierflow.commands.layouts.layouts", stopped)
    assert run_cli(["layouts", "."]) == 130
    assert "nothing is lost" in capsys.readouterr().err
