"""A person corrects a real run: files follow, and stay through another score, until the decision is withdrawn."""

from __future__ import annotations

import json
import shutil

import pytest
from integration_cli import ROOT, tierflow

from tierflow import tables
from tierflow.catalogue.parquet import ParquetCatalogue
from tierflow.catalogue.query import Exists
from tierflow.cli import run_cli
from tierflow.report.source import CatalogueSource

EVERYWHERE = "tier:(D or quarantine)"


def ok(*arguments):
    done = tierflow(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def run(example, tmp_path_factory):
    """A run of its own: a copied output would hold copies where the run made links."""
    output = tmp_path_factory.mktemp("relabel") / "results"
    ok("run", example.input, "--config", example.config, "--output", output, "--cores", 2)
    return output


def records(output):
    source = CatalogueSource(output / "catalogue")
    return {row["path"]: row for row in source.rows(range(len(source)))}


def test_looking_first_and_wrong_requests_decide_nothing(run, capsys):
    asked = ("relabel", EVERYWHERE, "--from", str(run))
    good = ("--tier", "A", "--reason", "a rare shape")
    for more, code, message in [
        ((*good, "--dry-run"), 0, "Dry run: nothing was decided"),
        (good, 78, "add --yes to decide"),
        (("--yes", "--tier", "Z", "--reason", "x"), 78, "no such tier, expected one of A, B, C, D, quarantine"),
        (("--yes", "--tier", "A"), 78, "--reason is missing"),
        (("--yes", "--reason", "x"), 78, "give either --tier NAME to decide, or --undo"),
        (("--yes", "--undo", *good), 78, "give either --tier NAME to decide, or --undo"),
        (("--yes", *good, "--by", " "), 78, "--by is empty"),
    ]:
        assert run_cli([*asked, *more]) == code
        told = capsys.readouterr()
        assert message in told.out + told.err
    assert run_cli(["relabel", "well:H12", "--from", str(run), *good, "--yes"]) == 0
    assert "No object fits" in capsys.readouterr().out
    assert not (run / "corrections.jsonl").exists()


def test_a_correction_from_start_to_end(run, example):
    before = records(run)
    [bad] = [path for path, row in before.items() if row["tier"] == "quarantine"]
    chosen = [path for path, row in before.items() if row["tier"] in ("D", "quarantine")]
    assert len(chosen) > 1
    assert "corrected by" not in (run / "report.html").read_text()

    told = ok("relabel", EVERYWHERE, "--from", run, "--tier", "A", "--reason", "a rare shape", "--by", "Ada", "--yes")
    assert f"{len(chosen)} objects found" in told
    after = records(run)
    assert {path for path, row in after.items() if row["corrected_by"] == "Ada"} == set(chosen)
    for path in chosen:
        row = after[path]
        assert (row["tier"], row["policy_tier"], row["correction"]) == ("A", before[path]["tier"], "a rare shape")
        assert "Ada decided on" in row["why"]
        assert (run / "tiers" / "A" / path).read_bytes() == (example.input / path).read_bytes()
        assert not (run / "tiers" / "D" / path).exists()
    unchanged = set(before) - set(chosen)
    assert {path: after[path]["tier"] for path in unchanged} == {path: before[path]["tier"] for path in unchanged}
    assert ParquetCatalogue(run).count(Exists("corrected_by")) == len(chosen)
    report = (run / "report.html").read_text()
    assert f"{len(chosen)} objects are in a tier that a person chose" in report
    assert "corrected by Ada" in report

    # Another score: the decision holds, and records say what the policy thinks now.
    ok("place", run, "--set", "score.function=constant", "--set", "score.parameters={value: 0.3}")
    again = records(run)
    assert {path: row["policy_tier"] for path, row in again.items()} == dict.fromkeys(before, "C") | {bad: "quarantine"}
    assert {path: row["tier"] for path, row in again.items()} == dict.fromkeys(before, "C") | dict.fromkeys(chosen, "A")
    ok("verify", run)

    # Withdrawn: the policy decides everywhere.
    ok("relabel", "corrected_by:Ada", "--from", run, "--undo", "--yes")
    last = records(run)
    assert {path: row["tier"] for path, row in last.items()} == dict.fromkeys(before, "C") | {bad: "quarantine"}
    assert {row["corrected_by"] for row in last.values()} == {None}
    assert all((run / "tiers" / row["tier"] / path).exists() for path, row in last.items())
    ok("verify", run)
    assert len((run / "corrections.jsonl").read_text().splitlines()) == 2


def test_calibrated_cut_offs_are_saved_and_used_by_another_run(run, example, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TIERFLOW_HOME", str(tmp_path / "home"))
    decided = tmp_path / "decided"
    for part in ("config.yaml", "policy.json", "scan/summary.json", "score/00000.parquet"):
        (decided / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(example.output / part, decided / part)
    assert run_cli(["calibrate", str(decided)]) == 78
    assert "15 are needed for 4 tiers" in capsys.readouterr().err
    scored = [row for row in tables.read(decided / "score" / "00000.parquet").to_pylist() if row["status"] == "ok"]
    line = {"by": "Ada", "at": "2026-11-21T08:15:30.123Z", "reason": "looked", "query": "*", "others": []}
    with (decided / "corrections.jsonl").open("w") as stream:
        for row in scored:
            tier = "A" if row["interestingness"] > 0.6 else "C"
            ids = {"objects": [row["object_id"]], "units": [row["unit_id"]]}
            stream.write(json.dumps({"tier": tier, **line, **ids}) + "\n")
    assert run_cli(["calibrate", str(decided), "--save", "people"]) == 0
    told = capsys.readouterr().out
    assert f"calibrated: agrees with people on {len(scored)} of {len(scored)} units (100%)" in told
    assert run_cli(["params", "list"]) == run_cli(["params", "show", "people"]) == 0
    assert "calibrated from people's decisions" in capsys.readouterr().out
    ok("place", run, "--params", "people")
    rows = [row for row in records(run).values() if row["status"] == "ok"]
    assert all(row["tier"] == ("A" if row["interestingness"] > 0.6 else "C") for row in rows)
    assert {row["parameter_set"].partition("@")[0] for row in rows} == {"people"}


def test_a_registered_data_set_tells_the_catalogue_about_wells(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TIERFLOW_HOME", str(tmp_path / "home"))
    schema, table, output = tmp_path / "fields.yaml", tmp_path / "map.csv", tmp_path / "results"
    schema.write_text("key: [well]\nfields:\n  compound: {}\n  dose: {type: number, unit: uM}\n")
    table.write_text("well;compound;dose\ne7;DMSO;\nE8;taxol;0.5\n")
    assert run_cli(["dataset", "register", "screen", "--schema", str(schema), "--table", str(table)]) == 0
    assert run_cli(["dataset", "list"]) == run_cli(["dataset", "show", "screen"]) == 0
    told = capsys.readouterr().out
    assert "2 rows with compound, dose" in told
    assert "taxol" in told
    ok("run", ROOT / "examples" / "plate", "--dataset", "screen", "--output", output, "--cores", 2)
    rows = records(output).values()
    assert {row["metadata.compound"] for row in rows if row["well"] == "E08"} == {"taxol"}
    assert {row["metadata.dose"] for row in rows if row["well"] == "E08"} == {0.5}
    assert {row["dataset"] for row in rows} == {"screen"}
    assert run_cli(["search", "metadata.dose>0.1", "--from", str(output), "--columns", "well,compound"]) == 0
    assert "taxol" in capsys.readouterr().out
