"""`tierflow elastic`: what administrators do to a server, and that none of it loses a document."""

from __future__ import annotations

import io
import json
import os
import platform
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

import pytest

from tierflow import config_io, tables
from tierflow.catalogue.elastic import compare, forget, migrate, rebuild, rollback
from tierflow.catalogue.elastic import generations as gens
from tierflow.catalogue.elastic.connection import connect
from tierflow.catalogue.elastic.documents import document_id, documents
from tierflow.catalogue.elastic.outputs import open_output
from tierflow.catalogue.elastic.pages import count_by, pages
from tierflow.catalogue.elastic.template import first_index, runs_alias
from tierflow.cli import run_cli
from tierflow.errors import EXIT_CONFIG, EXIT_INPUT_MISSING, EXIT_INTERNAL, ConfigError, TierflowError, TryAgainError
from tierflow.steps import publish
from tierflow.testing.tables import index_run, make_run

OBJECTS = 60


@dataclass(frozen=True)
class Made:
    """A run with a catalogue, on the server unless said otherwise."""

    folder: object
    run: str

    @property
    def output(self):
        return open_output(self.folder)

    def publish(self):
        for path in sorted((self.folder / "catalogue").glob("*.parquet")):
            receipt = self.folder / "publish" / f"{path.stem}.json"
            publish.run(catalogue=path, config=self.folder / "config.yaml", receipt=receipt)

    def ids(self):
        return {document_id(self.run, doc["object_id"]) for table in self.output.tables() for doc in documents(table)}


def make(folder, settings, run, *, objects=OBJECTS, publish=True, **recipe):
    output = make_run(folder, objects=objects, shard_objects=25, **recipe)
    tree = config_io.read_tree(output / "config.yaml")
    tree["catalogue"] |= {"run": run, "elasticsearch": settings.model_dump(mode="json")}
    config_io.write(output / "config.yaml", config_io.validate(tree))
    index_run(output)
    shards = [{"name": path.stem} for path in sorted((output / "catalogue").glob("*.parquet"))]
    summary = output / "scan" / "summary.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"shards": shards}))
    made = Made(output, run)
    if publish:
        made.publish()
    return made


@pytest.fixture
def server(elastic):
    """The client that the commands use."""
    with connect(elastic) as found:
        yield found


@pytest.fixture
def one(elastic, tmp_path):
    return make(tmp_path / "one", elastic, "one")


@pytest.fixture
def two(elastic, tmp_path):
    return make(tmp_path / "two", elastic, "two", seed=5)


def tierflow(*arguments):
    """Run a command; return exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = run_cli([str(argument) for argument in ("elastic", *arguments)])
        except SystemExit as stopped:
            code = stopped.code
    return code, out.getvalue(), err.getvalue()


def server_options(settings):
    return ("--url", settings.url, "--alias", settings.alias)


def whole(client, index):
    """Every document by `_id`, with its version."""
    client.indices.refresh(index=index)
    found = pages(client, index, query={"match_all": {}})
    return {hit["_id"]: (hit["_version"], hit["_source"]) for page in found for hit in page}


def behind(client, settings):
    return gens.current(gens.generations(client, settings.alias), settings.alias)


def no_marks(client, settings):
    """Nothing is blocked, and no migration is thought to go on."""
    found = gens.generations(client, settings.alias)
    return not any(one.blocked or one.mark for one in found)


def write_anyhow(client, settings, document_id, document):
    client.index(index=settings.alias, id=document_id, document=document, version=2**52, version_type="external_gte")
    client.indices.refresh(index=settings.alias)


# --- check


def test_check_finds_nothing_after_publishing(one, two):
    code, out, _ = tierflow("check", one.folder)
    assert code == 0
    assert f"{OBJECTS} records in Parquet, {OBJECTS} documents on the server" in out
    assert "nothing differs" in out


def test_check_finds_each_kind_of_difference(one, two, elastic, server):
    server.indices.refresh(index=elastic.alias)
    records = list(compare.Records(one.output))
    sources = {key: source for key, (_, source) in whole(server, elastic.alias).items()}
    missing, changed, altered, refused = records[:4]
    for gone in (missing, refused):
        server.delete(index=elastic.alias, id=gone.id, version=2**52, version_type="external_gte")
    write_anyhow(server, elastic, changed.id, {**sources[changed.id], "tier": "Z"})
    features = {**sources[altered.id]["features"], "added_by_hand": 3.5}
    write_anyhow(server, elastic, altered.id, {**sources[altered.id], "features": features})
    write_anyhow(server, elastic, "foreign", {**sources[records[9].id]})
    write_anyhow(server, elastic, "stranger", {"run": "one", "tier": "A"})
    letters = {"object_id": refused.object_id, "path": refused.path, "reason": "failed to parse field [x]"}
    dead = tables.from_rows([letters], tables.pa.schema([(name, tables.pa.string()) for name in letters]))
    tables.write(one.folder / "dead_letters" / "00000.parquet", dead)

    code, out, _ = tierflow("check", one.folder, "--format", "json")
    found = json.loads(out)
    assert code == EXIT_INTERNAL
    assert found["counts"] == {"missing": 1, "extra": 2, "different": 2, "dead": 1}
    assert not found["equal"]
    by_id = {example["id"]: example for example in found["examples"]}
    assert by_id[missing.id]["kind"] == "missing"
    assert by_id[missing.id]["path"] == missing.path
    assert by_id[changed.id]["changes"] == [["tier", sources[changed.id]["tier"], "Z"]]
    assert by_id[altered.id]["changes"] == [["features.added_by_hand", None, 3.5]]
    assert by_id["foreign"]["kind"] == by_id["stranger"]["kind"] == "extra"
    assert by_id[refused.id]["reason"] == "failed to parse field [x]"

    code, out, _ = tierflow("check", one.folder, "--limit", 1)
    assert code == EXIT_INTERNAL
    assert "1 in Parquet, not on the server" in out
    assert "1 refused by the server" in out
    assert "and 5 more" in out
    assert tierflow("check", two.folder)[0] == 0


def test_check_of_what_is_no_run(tmp_path):
    code, _, err = tierflow("check", tmp_path)
    assert code == EXIT_INPUT_MISSING
    assert "holds no run" in err


# --- rebuild


def test_rebuild_after_the_index_was_deleted(one, elastic, server):
    before = whole(server, elastic.alias)
    server.indices.delete(index=[first_index(elastic.alias), first_index(runs_alias(elastic.alias))])
    code, out, err = tierflow("rebuild", one.folder, "--dry-run")
    assert code == 0, err
    assert f"would make an index behind {elastic.alias}, send {OBJECTS} records" in out
    assert not server.indices.exists_alias(name=elastic.alias)
    code, out, err = tierflow("rebuild", one.folder)
    assert code == 0, out + err
    assert "nothing differs" in out
    after = whole(server, elastic.alias)
    assert {key: without_time(source) for key, (_, source) in after.items()} == {
        key: without_time(source) for key, (_, source) in before.items()
    }


def without_time(source):
    return {name: value for name, value in source.items() if name != "indexed_at"}


def test_rebuild_sends_everything_and_deletes_what_parquet_lacks(one, two, elastic, server):
    others = {key: value for key, value in whole(server, elastic.alias).items() if value[1]["run"] == "two"}
    first = next(iter(compare.Records(one.output)))
    server.delete(index=elastic.alias, id=first.id, version=2**50, version_type="external_gte")
    write_anyhow(server, elastic, "stranger", {"run": "one", "tier": "A"})
    one.publish()
    assert tierflow("check", one.folder)[0] == EXIT_INTERNAL, "the ledger says that all is there"
    code, out, err = tierflow("rebuild", one.folder)
    assert code == 0, out + err
    assert "1 documents deleted" in err
    after = whole(server, elastic.alias)
    assert {key for key in after if after[key][1]["run"] == "one"} == one.ids()
    assert {key: value for key, value in after.items() if value[1]["run"] == "two"} == others


def test_rebuild_goes_on_where_it_was_killed(one, elastic, server, monkeypatch):
    sent = []

    def killed_at_the_third(catalogue, *, config, receipt):
        if len(sent) == 2:
            raise KeyboardInterrupt
        sent.append(catalogue.name)
        real(catalogue, config=config, receipt=receipt)

    real = rebuild.publish
    monkeypatch.setattr(rebuild, "publish", killed_at_the_third)
    assert tierflow("rebuild", one.folder)[0] == 130
    monkeypatch.setattr(rebuild, "publish", lambda *a, **k: (sent.append(a[0].name), real(*a, **k)))
    code, _, err = tierflow("rebuild", one.folder)
    assert code == 0
    assert sent == ["00000.parquet", "00001.parquet", "00002.parquet"]
    assert "1 shards sent, 2 were sent before the last stop" in err
    tierflow("rebuild", one.folder)
    assert sent[3:] == ["00000.parquet", "00001.parquet", "00002.parquet"], "a finished one begins at the beginning"


# --- forget


def test_forget_deletes_one_run_only(one, two, elastic, server):
    options = server_options(elastic)
    code, out, _ = tierflow("forget", "one", "--dry-run", *options)
    assert (code, f"would delete {OBJECTS} documents" in out) == (0, True)
    code, _, err = tierflow("forget", "one", *options)
    assert (code, "add --yes" in err) == (EXIT_CONFIG, True)
    assert count_by(server, elastic.alias, "run") == {"one": OBJECTS, "two": OBJECTS}
    code, out, _ = tierflow("forget", "one", "--yes", *options)
    assert (code, f"{OBJECTS} documents deleted" in out) == (0, True)
    assert {source["run"] for _, source in whole(server, elastic.alias).values()} == {"two"}
    assert not server.exists(index=runs_alias(elastic.alias), id="one")
    assert server.exists(index=runs_alias(elastic.alias), id="two")
    code, _, err = tierflow("forget", "twoo", "--yes", *options)
    assert (code, "did you mean 'two'" in err) == (EXIT_CONFIG, True)
    assert tierflow("rebuild", one.folder)[0] == 0
    assert count_by(server, elastic.alias, "run") == {"one": OBJECTS, "two": OBJECTS}


def test_forget_while_it_is_published_is_said(one, elastic, server, monkeypatch):
    deleted = forget.delete

    def written_again(*arguments, **options):
        found = deleted(*arguments, **options)
        write_anyhow(server, elastic, "late", {"run": "one", "tier": "A"})
        return found

    monkeypatch.setattr(forget, "delete", written_again)
    with pytest.raises(TryAgainError, match="1 documents of run 'one' were written while"):
        forget.forget(server, elastic, "one")


# --- migrate


def test_migrate_with_one_output_missing(one, two, elastic, server):
    before = whole(server, elastic.alias)
    options = ("--shards", 2)
    code, out, err = tierflow("migrate", one.folder, *options, "--dry-run")
    assert code == 0, err
    assert f"would fill {elastic.alias}-000002 (2 shard(s), 0 replica(s))" in out
    assert behind(server, elastic).number == 1
    code, out, err = tierflow("migrate", one.folder, *options)
    assert code == 0, err
    now = behind(server, elastic)
    assert (now.number, now.shards, now.previous) == (2, 2, first_index(elastic.alias))
    assert no_marks(server, elastic)
    after = whole(server, elastic.alias)
    assert after.keys() == before.keys()
    for key, (version, source) in before.items():
        if source["run"] == "two":
            assert after[key] == (version, source), "copied as it was"
        else:
            assert without_time(after[key][1]) == without_time(source)
            assert after[key][0] >= version
    assert tierflow("check", one.folder)[0] == tierflow("check", two.folder)[0] == 0
    assert whole(server, first_index(elastic.alias)) == before, "the old index stays"


def test_what_is_only_on_the_server_is_copied_and_parquet_wins(one, two, elastic, server):
    sources = whole(server, elastic.alias)
    changed = next(iter(one.ids()))
    write_anyhow(server, elastic, changed, {**sources[changed][1], "tier": "Z"})
    write_anyhow(server, elastic, "nameless", {"tier": "A"})
    outcome = migrate.migrate(server, elastic, [one.output])
    assert outcome.documents == {None: 1, "one": OBJECTS, "two": OBJECTS}
    assert whole(server, elastic.alias)["nameless"][1] == {"tier": "A"}
    assert tierflow("check", one.folder)[0] == 0


def test_publishing_goes_on_after_a_migration(one, elastic, server):
    migrate.migrate(server, elastic, [])
    table = tables.read(one.folder / "catalogue" / "00000.parquet")
    stamp = {name: value for name, value in tables.metadata_of(table).items() if name != "schema_version"}
    tables.write(one.folder / "catalogue" / "00000.parquet", table.slice(3), **stamp)
    one.publish()
    assert tierflow("check", one.folder)[0] == 0, "three records vanished, and so did their documents"
    assert count_by(server, elastic.alias, "run") == {"one": OBJECTS - 3}


def test_rollback_tells_what_was_written_since_and_can_go_forward_again(one, two, elastic, server, tmp_path):
    migrate.migrate(server, elastic, [one.output, two.output])
    make(tmp_path / "three", elastic, "three", objects=7)
    server.indices.refresh(index=elastic.alias)
    code, out, _ = tierflow("migrate", "--rollback", "--dry-run", *server_options(elastic))
    assert code == 0
    assert "lacks what was written since for three:" in out
    assert behind(server, elastic).number == 2
    found = rollback.rollback(server, elastic, dry_run=False)
    assert found.written == {"three": 7}
    assert found.documents == {"one": (OBJECTS, OBJECTS), "three": (7, 0), "two": (OBJECTS, OBJECTS)}
    assert behind(server, elastic).number == 1
    one.publish()
    assert tierflow("check", one.folder)[0] == 0
    assert tierflow("migrate", "--rollback", one.folder)[0] == 0
    assert behind(server, elastic).number == 2
    assert count_by(server, elastic.alias, "run")["three"] == 7


def test_nothing_to_roll_back_to(one, elastic, server):
    with pytest.raises(ConfigError, match="no earlier index"):
        rollback.rollback(server, elastic, dry_run=False)
    migrate.migrate(server, elastic, [])
    server.indices.delete(index=first_index(elastic.alias))
    with pytest.raises(ConfigError, match="000001 was deleted"):
        rollback.rollback(server, elastic, dry_run=False)
    assert behind(server, elastic).number == 2


def test_numbers_of_kept_indices_are_not_used_again(one, elastic, server):
    migrate.migrate(server, elastic, [])
    rollback.rollback(server, elastic, dry_run=False)
    assert migrate.migrate(server, elastic, []).new.endswith("-000003")
    assert [one.number for one in gens.generations(server, elastic.alias)] == [1, 2, 3]


STAGES = ("create", "mark", "block", "fill", "copy", "count", "ready")


def broken_at(stage, monkeypatch, error):
    """Make a migration end in the middle of a stage."""

    def fail(*_arguments, **_options):
        raise error

    place = {
        "create": (migrate._Migration, "_fill"),
        "mark": (gens, "new_mark"),
        "block": (migrate._Migration, "_fill"),
        "fill": (migrate, "_from_parquet"),
        "copy": (migrate, "_from_index"),
        "count": (migrate, "count_by"),
        "ready": (migrate._Migration, "_ready"),
    }[stage]
    if stage == "mark":
        real, calls = gens.new_mark, []

        def second(*arguments, **options):
            calls.append(1)
            return fail() if len(calls) == 2 else real(*arguments, **options)

        monkeypatch.setattr(gens, "new_mark", second)
    elif stage == "count":
        real_count, counts = migrate.count_by, []

        def later(*arguments, **options):
            counts.append(1)
            return fail() if len(counts) == 2 else real_count(*arguments, **options)

        monkeypatch.setattr(migrate, "count_by", later)
    else:
        monkeypatch.setattr(*place, fail)


@pytest.mark.parametrize("stage", STAGES)
def test_a_migration_that_fails_leaves_everything_as_it_was(stage, one, two, elastic, server, monkeypatch):
    before = whole(server, elastic.alias)
    with monkeypatch.context() as patch:
        broken_at(stage, patch, TierflowError("broken"))
        with pytest.raises(TierflowError, match="broken"):
            migrate.migrate(server, elastic, [one.output])
    assert [each.number for each in gens.generations(server, elastic.alias)] == [1]
    assert no_marks(server, elastic)
    assert whole(server, elastic.alias) == before
    assert migrate.migrate(server, elastic, [one.output]).new.endswith("-000002")
    assert whole(server, elastic.alias).keys() == before.keys()


KILL = """
import os, signal, sys
from tierflow.catalogue.elastic import generations as gens, migrate
from tierflow.cli import run_cli

stage = sys.argv.pop(1)
die = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
def after(owner, name):
    real = getattr(owner, name)
    setattr(owner, name, lambda *a, **k: (real(*a, **k), die()))
def half(owner, name):
    real = getattr(owner, name)
    def some(*a, **k):
        for number, each in enumerate(real(*a, **k)):
            if number == 30:
                die()
            yield each
    setattr(owner, name, some)
{
    "create": lambda: after(migrate._Migration, "_create"),
    "block": lambda: setattr(migrate._Migration, "_fill", die),
    "fill": lambda: half(migrate, "_from_parquet"),
    "copy": lambda: half(migrate, "_from_index"),
    "count": lambda: after(migrate._Migration, "_check"),
    "ready": lambda: after(migrate._Migration, "_ready"),
    "swap": lambda: after(migrate, "swap"),
    "unblocked": lambda: after(gens, "unblock"),
}[stage]()
sys.exit(run_cli(sys.argv[1:]))
"""
KILLS = ("create", "block", "fill", "copy", "count", "ready", "swap", "unblocked")


def killed_migration(stage, *arguments):
    command = [sys.executable, "-c", KILL, stage, "elastic", "migrate", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("stage", KILLS)
def test_a_migration_that_is_killed_is_ended_by_the_next(stage, one, two, elastic, server):
    small = elastic.model_copy(update={"chunk_documents": 10})
    tree = config_io.read_tree(one.folder / "config.yaml")
    tree["catalogue"]["elasticsearch"] = small.model_dump(mode="json")
    config_io.write(one.folder / "config.yaml", config_io.validate(tree))
    before = whole(server, elastic.alias)
    killed_migration(stage, one.folder)
    assert whole(server, elastic.alias).keys() == before.keys(), "searches see everything"
    notes = json.loads(tierflow("status", "--format", "json", one.folder)[1])["indices"]
    assert any("unfinished migration" in index["note"] for index in notes)

    code, _, err = tierflow("migrate", one.folder)
    assert code == 0, err
    assert behind(server, elastic).number == 2
    assert behind(server, elastic).previous == first_index(elastic.alias)
    assert [each.number for each in gens.generations(server, elastic.alias)] == [1, 2]
    assert no_marks(server, elastic)
    assert whole(server, elastic.alias).keys() == before.keys()
    assert tierflow("check", one.folder)[0] == tierflow("check", two.folder)[0] == 0
    one.publish()


@pytest.mark.parametrize("stage", ["create", "copy", "swap"])
def test_a_killed_migration_can_be_given_up(stage, one, elastic, server):
    before = whole(server, elastic.alias)
    killed_migration(stage, *server_options(elastic))
    code, out, err = tierflow("migrate", "--rollback", one.folder)
    assert code == 0, err
    assert ("give up the unfinished migration" in out) == (stage != "swap")
    assert behind(server, elastic).number == 1
    assert no_marks(server, elastic)
    assert whole(server, elastic.alias) == before
    one.publish()


def test_a_polite_kill_undoes_what_was_begun(one, elastic, server, monkeypatch):
    def interrupted(*_arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        yield from ()

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(migrate, "_from_index", interrupted)
    assert tierflow("migrate", *server_options(elastic))[0] == 130
    assert signal.getsignal(signal.SIGTERM) is before
    assert [each.number for each in gens.generations(server, elastic.alias)] == [1]
    assert no_marks(server, elastic)


def test_two_migrations_at_once(one, elastic, server):
    old = behind(server, elastic)
    other = gens.new_mark("filling", other=old.name, lease_s=300).model_copy(
        update={"owner": f"{platform.node()}:{os.getppid()}"}
    )
    server.indices.create(index=f"{elastic.alias}-000002", mappings={"_meta": {"migration": other.model_dump()}})
    for call in (migrate.migrate, lambda *a: rollback.rollback(*a[:2], dry_run=False)):
        with pytest.raises(TryAgainError, match=r"a migration .* is going on"):
            call(server, elastic, [])
    assert [each.number for each in gens.generations(server, elastic.alias)] == [1, 2], "the other one goes on"


def test_a_writer_during_a_migration_tries_again_and_succeeds(one, elastic, server, monkeypatch, tmp_path):
    late = make(tmp_path / "late", elastic.model_copy(update={"patience_s": 0}), "late", objects=20, publish=False)
    said = []
    real = migrate._from_index

    def meanwhile(*arguments):
        with pytest.raises(TryAgainError) as caught:
            late.publish()
        said.append(str(caught.value))
        assert server.count(index=elastic.alias)["count"] == OBJECTS, "searches go on"
        yield from real(*arguments)

    server.indices.refresh(index=elastic.alias)
    monkeypatch.setattr(migrate, "_from_index", meanwhile)
    migrate.migrate(server, elastic, [one.output])
    assert len(said) == 1
    assert "migrated" in said[0]
    late.publish()
    assert tierflow("check", late.folder)[0] == 0
    assert behind(server, elastic).number == 2


def test_counts_that_differ_stop_the_swap(one, two, elastic, server, monkeypatch):
    real = migrate._from_index
    monkeypatch.setattr(migrate, "_from_index", lambda *a: list(real(*a))[1:])
    with pytest.raises(TierflowError, match=r"run 'two' has 59 documents .*, expected 60"):
        migrate.migrate(server, elastic, [one.output])
    assert behind(server, elastic).number == 1
    assert no_marks(server, elastic)


def test_a_swap_whose_answer_is_lost_is_done_once(one, elastic, server, monkeypatch):
    from elastic_transport import ConnectionTimeout

    real, calls = migrate.swap, []

    def deaf(*arguments, **options):
        calls.append(1)
        real(*arguments, **options)
        if len(calls) == 1:
            raise ConnectionTimeout("answer lost")

    monkeypatch.setattr(migrate, "swap", deaf)
    migrate.migrate(server, elastic, [])
    assert len(calls) == 2
    assert behind(server, elastic).number == 2
    assert no_marks(server, elastic)


def test_a_block_that_is_not_ours_is_left_alone(one, elastic, server):
    server.indices.add_block(index=first_index(elastic.alias), block="write")
    with pytest.raises(ConfigError, match="blocked for writing, but not by tierflow"):
        migrate.migrate(server, elastic, [])
    assert behind(server, elastic).blocked


def test_a_copied_document_that_the_new_index_refuses_stops_everything(one, two, elastic, server, monkeypatch):
    real = migrate._from_index

    def spoilt(*arguments):
        for number, action in enumerate(real(*arguments)):
            yield migrate.Action(action.id, action.version, b'{"unknown": 1}') if number == 5 else action

    monkeypatch.setattr(migrate, "_from_index", spoilt)
    with pytest.raises(ConfigError, match=r"refuses document .* \[unknown\]"):
        migrate.migrate(server, elastic, [one.output])
    assert behind(server, elastic).number == 1
    assert no_marks(server, elastic)


# --- template, status


def test_template_is_put_and_printed(elastic, client, tmp_path):
    code, out, _ = tierflow("template", "--alias", elastic.alias)
    assert code == 0
    printed = json.loads(out)
    target = tmp_path / "template.json"
    assert tierflow("template", "--put", "--out", target, *server_options(elastic))[0] == 0
    assert json.loads(target.read_text()) == printed
    kept = client.indices.get_index_template(name=elastic.alias)["index_templates"][0]["index_template"]
    assert kept["index_patterns"] == printed["index_templates"][elastic.alias]["index_patterns"]
    parts = client.cluster.get_component_template(name=f"{elastic.alias}-*")["component_templates"]
    assert {part["name"] for part in parts} == set(printed["component_templates"])


def test_status_shows_health_indices_and_runs(one, two, elastic, server):
    server.indices.refresh(index=[elastic.alias, runs_alias(elastic.alias)])
    code, out, _ = tierflow("status", *server_options(elastic), "--format", "json")
    assert code == 0
    found = json.loads(out)
    assert found["health"] in ("green", "yellow")
    assert found["versions"][0].startswith(("8.", "9."))
    [index] = [each for each in found["indices"] if each["name"] == first_index(elastic.alias)]
    assert (index["behind"], index["documents"], index["catalogue_version"]) == (True, 2 * OBJECTS, "2")
    assert index["bytes"] > 0
    assert [(run["run"], run["dataset"], run["documents"]) for run in found["runs"]] == [
        ("one", "synthetic", OBJECTS),
        ("two", "synthetic", OBJECTS),
    ]
    assert all(run["updated_at"].endswith("Z") and run["output"] for run in found["runs"])
    code, out, _ = tierflow("status", one.folder)
    assert code == 0
    for word in (elastic.alias, "synthetic", "one", "two", "8."):
        assert word in out


def test_status_without_a_catalogue(elastic):
    assert tierflow("template", "--put", *server_options(elastic))[0] == 0
    code, out, _ = tierflow("status", *server_options(elastic))
    assert code == 0
    assert f"nothing is behind {elastic.alias}" in out
    assert tierflow("forget", "one", *server_options(elastic))[0] == EXIT_CONFIG
    assert tierflow("migrate", *server_options(elastic))[0] == EXIT_CONFIG
