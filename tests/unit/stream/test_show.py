"""What `tierflow watch` says: once, on a terminal as in a log, and what to look at where it couldn't do all."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from rich.console import Console

from tierflow.cli import run_cli
from tierflow.commands.watch import AboveTheLine
from tierflow.stream.show import Show, ended_line
from tierflow.stream.states import State

NONE = dict.fromkeys(State, 0)


def told(console: Console, caplog: pytest.LogCaptureFixture) -> tuple[str, list[str]]:
    """Have a stream shown from its beginning to its end; return what stands on the console, and in the log."""
    caplog.set_level(logging.INFO, logger="tierflow")
    show = Show(console)
    show.start("watching incoming")
    show.update(NONE | {State.DONE: 3}, lag_s=0.0, state="running", problem=None)
    show.stop("ended: 3 done")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue(), caplog.messages


def test_a_terminal_shows_beginning_and_end_once(caplog: pytest.LogCaptureFixture) -> None:
    shown, logged = told(Console(file=io.StringIO(), force_terminal=True, width=80), caplog)
    assert [shown.count(words) for words in ("watching incoming", "ended: 3 done")] == [1, 1]
    assert logged == []


def test_without_a_terminal_the_log_says_it(caplog: pytest.LogCaptureFixture) -> None:
    shown, logged = told(Console(file=io.StringIO(), force_terminal=False), caplog)
    assert shown == ""
    assert logged == ["watching incoming", "3 done", "ended: 3 done"]


def test_a_record_is_written_as_it_is_above_the_line() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=40)
    words = "a [bold]name[/bold] of a file, and a message longer than the terminal is wide"
    AboveTheLine(console).emit(logging.LogRecord("tierflow", logging.WARNING, "", 0, words, None, None))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == f"{words}\n"


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ({}, "ended: there was no image"),
        ({State.DONE: 3}, "ended: 3 done"),
        ({State.DONE: 3, State.WAITING: 1}, "ended: 1 waiting, 3 done; why, says `tierflow status results`"),
        ({State.QUARANTINED: 2}, "ended: 2 quarantined; why, says `tierflow status results`"),
    ],
)
def test_the_end_says_where_to_look_for_what_is_left(states: dict[State, int], words: str) -> None:
    assert ended_line(NONE | states, Path("results")) == words


def test_the_end_tells_of_files_that_are_no_objects() -> None:
    left = "100 .czi files were left out: convert them"
    assert ended_line(NONE, Path("results"), left_out=left) == f"ended: there was no image; {left}"


def test_results_cannot_go_into_the_watched_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is placed there would be found as a new image, placed again, and so on."""
    folder = tmp_path / "incoming"
    folder.mkdir()
    (tmp_path / "alias").symlink_to(folder)
    for output in (folder, tmp_path / "alias"):
        assert run_cli(["watch", str(folder), "--output", str(output), "--once"]) == 78
        assert "input and output are the same folder" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_an_output_below_a_file_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "incoming").mkdir()
    (tmp_path / "file").touch()
    arguments = ["watch", str(tmp_path / "incoming"), "--once", "--output"]
    assert run_cli([*arguments, str(tmp_path / "file" / "results")]) == 78
    assert "lies below a file" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder here in which nobody can make one")
def test_an_output_that_cannot_be_made_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["watch", str(tmp_path), "--once", "--output", "/proc/results"]) == 78
    assert "output /proc/results can't be made" in capsys.readouterr().err


def test_a_wrong_command_line_names_the_help_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    for line, wanted in ((["argo", "watch"], "argo watch --help"), (["status"], "status --help"), (["nil"], "--help")):
        assert run_cli(line) == 78
        assert capsys.readouterr().err.endswith(f"See `tierflow {wanted}`.\n")
