"""What people do, on a folder and on a server: the same commands give the same answers."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from filling import fill

import tierflow
from tierflow import tables
from tierflow.catalogue.elastic.template import runs_alias
from tierflow.cli import run_cli

ROOT = Path(__file__).resolve().parents[2]
PLATE = ROOT / "examples" / "plate"


@dataclass(frozen=True)
class Both:
    """One run, in its folder and on a server that holds another run of the same files too."""

    output: Path
    url: str
    run: str
    other: str


@pytest.fixture(scope="module")
def both(module_elastic, client, tmp_path_factory) -> Both:
    output = tmp_path_factory.mktemp("people") / "results of people"
    settings = [
        "--set",
        f"catalogue.elasticsearch.url={module_elastic.url}",
        "--set",
        f"catalogue.elasticsearch.alias={module_elastic.alias}",
        "--set",
        "catalogue.run=first-run",
    ]
    command = ["run", str(PLATE), "--config", str(ROOT / "examples" / "plate.yaml"), "--output", str(output), *settings]
    done = subprocess.run([sys.executable, "-m", "tierflow", *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    table = tables.read(output / "catalogue" / "00000.parquet")
    column = table.schema.get_field_index("run")
    renamed = table.set_column(column, table.schema.field("run"), [["second-run"] * len(table)])
    fill(client, module_elastic, renamed, source=PLATE, output=output)
    client.indices.refresh(index=[module_elastic.alias, runs_alias(module_elastic.alias)])
    return Both(output, f"{module_elastic.url}/{module_elastic.alias}", "first-run", "second-run")


def said(arguments, capfdbinary) -> bytes:
    assert run_cli([str(argument) for argument in arguments]) == 0
    return capfdbinary.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["search"],
        ["search", "tier:A well:E0*", "--sort", "-if"],
        ["search", "features.snr>5 and not flag:saturated", "--format", "csv"],
        ["search", "zstep_5", "--format", "json", "--columns", "tier,flags,z,snr"],
        ["search", "--format", "csv", "--sort", "-z,-snr"],
        ["search", "--format", "jsonl"],
        ["search", "tier:quarantine", "--format", "paths"],
        ["search", "--format", "paths0", "--sort", "-bytes", "--limit", "7"],
        ["facets", "tier"],
        ["facets", "flag", "--format", "csv"],
        ["facets", "if"],
        ["facets", "sharpness", "--bins", "7", "--format", "json"],
        ["facets", "z"],
    ],
    ids=" ".join,
)
def test_the_same_command_says_the_same(both, capfdbinary, arguments):
    command, *rest = arguments
    field = [rest.pop(0)] if command == "facets" else []
    query = rest.pop(0) if rest and not rest[0].startswith("-") else ""
    asked = [command, *field, f"{query} run:{both.run}".strip(), *rest]
    folder = said([*asked, "--from", both.output], capfdbinary)
    server = said([*asked, "--from", both.url], capfdbinary)
    assert server == folder
    assert folder.strip()


def test_means_by_group_agree_to_the_last_digits(both, capfdbinary):
    asked = ["facets", "sharpness", f"run:{both.run}", "--by", "z", "--format", "csv", "--from"]
    folder, server = (
        list(csv.reader(io.StringIO(said([*asked, where], capfdbinary).decode()))) for where in (both.output, both.url)
    )
    assert [row[:3] for row in server] == [row[:3] for row in folder]
    assert len(folder) == 5
    for one, other in zip(folder[1:], server[1:], strict=True):
        assert np.allclose(list(map(float, one)), list(map(float, other)), rtol=1e-12, atol=0)


def test_pages_go_on_where_the_note_says(both, capfdbinary):
    asked = ["search", f"run:{both.run}", "--limit", "8", "--sort", "-if"]
    for where in (both.output, both.url):
        pages, cursor = [], []
        while True:
            page = said([*asked, *cursor, "--from", where], capfdbinary).decode()
            pages.append(page)
            _, found, tail = page.partition("--cursor ")
            if not found:
                break
            cursor = ["--cursor", tail.strip()]
        assert len(pages) == 3
        assert "3 of 19 objects" in pages[-1]


def test_exports_hold_the_same_bytes_or_values(both, tmp_path):
    for name in ("all.csv", "all.json", "all.txt"):
        for kind, where in (("folder", both.output), ("server", both.url)):
            target = tmp_path / kind / name
            assert run_cli(["export", str(target), f"run:{both.run}", "--from", str(where)]) == 0
        assert (tmp_path / "server" / name).read_bytes() == (tmp_path / "folder" / name).read_bytes()
    for kind, where in (("folder", both.output), ("server", both.url)):
        assert run_cli(["export", str(tmp_path / kind / "a.parquet"), f"run:{both.run}", "--from", str(where)]) == 0
    one, other = (pq.read_table(tmp_path / kind / "a.parquet") for kind in ("folder", "server"))
    assert one.schema.equals(other.schema, check_metadata=True)
    assert one.equals(other)


def test_a_run_is_a_field_among_others(both, capfdbinary):
    told = said(["facets", "run", "--format", "csv", "--from", both.url], capfdbinary).decode()
    assert told.splitlines()[1:] == [f"{both.run},19", f"{both.other},19"]


def test_fetch_brings_the_same_files(both, tmp_path, capfdbinary):
    for kind, where in (("folder", both.output), ("server", both.url)):
        asked = ["fetch", f"tier:A run:{both.run}", "--from", where, "--to", tmp_path / kind]
        assert b"copied: 8 files" in said(asked, capfdbinary)
        assert b"there: 8 files" in said(asked, capfdbinary)
    rows = {kind: (tmp_path / kind / "manifest.csv").read_text() for kind in ("folder", "server")}
    assert rows["server"] == rows["folder"]
    content = {
        kind: {p.relative_to(tmp_path / kind): p.read_bytes() for p in (tmp_path / kind).rglob("*.tif")}
        for kind in rows
    }
    assert content["server"] == content["folder"]
    assert len(content["folder"]) == 8


def test_fetch_of_two_runs_brings_equal_files_once(both, tmp_path, capfdbinary):
    told = said(["fetch", "tier:B", "--from", both.url, "--to", tmp_path / "to"], capfdbinary)
    assert b"copied: 2 files" in told
    assert b"there: 2 files" in told
    assert len(list((tmp_path / "to").rglob("*.tif"))) == 2


def test_open_report_shows_the_same_pictures(both, tmp_path, monkeypatch, capfdbinary):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    pages = {}
    for kind, where in (("folder", both.output), ("server", both.url)):
        to = tmp_path / kind
        told = said(["search", f"run:{both.run}", "--from", where, "--open", "report", "--to", to], capfdbinary)
        assert b"19 objects in " in told
        page = (to / "found.html").read_text()
        pages[kind] = page[page.index('<div id="pictures">') : page.index("<footer>")]
    assert pages["server"] == pages["folder"]
    assert pages["folder"].count('src="data:image/webp') == 19


def test_python_gives_the_same(both):
    query = f"run:{both.run} and not tier:D"
    folder, server = (tierflow.open(where).search(query, sort="-if") for where in (both.output, both.url))
    assert server.count == folder.count == 13
    assert server.to_arrow().equals(folder.to_arrow())
    one, other = folder.to_pandas(), server.to_pandas()
    assert other.equals(one)
    assert other.attrs == one.attrs
    assert server.paths() == folder.paths()
    assert server.facets("flag") == folder.facets("flag")
    assert server.histogram("snr", bins=9) == folder.histogram("snr", bins=9)
    assert server.percentiles("snr") == pytest.approx(folder.percentiles("snr"), rel=1e-12)
    for mine, theirs in zip(folder.images()[:3], server.images()[:3], strict=True):
        assert (mine.path, mine.axes, mine.shape, mine.dtype) == (theirs.path, theirs.axes, theirs.shape, theirs.dtype)
        assert np.array_equal(np.asarray(mine), np.asarray(theirs))


def test_an_address_without_a_catalogue(both, capfd):
    address = both.url.rpartition("/")[0]
    assert run_cli(["search", "--from", f"{address}/nothing-here-objects"]) == 66
    assert "nothing-here-objects" in capfd.readouterr().err
    assert run_cli(["search", "--from", f"{address}/Not-An-Alias"]) == 78
    assert run_cli(["search", "--from", "http://127.0.0.1:1/lab-objects"]) == 75
