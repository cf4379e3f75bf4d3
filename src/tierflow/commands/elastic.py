"""`tierflow elastic`: look after the catalogue on an Elasticsearch server."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tierflow import config_io, tables
from tierflow.catalogue.elastic import compare, template
from tierflow.catalogue.elastic import forget as forgetting
from tierflow.catalogue.elastic import migrate as migration
from tierflow.catalogue.elastic import rollback as rolling
from tierflow.catalogue.elastic import status as looking
from tierflow.catalogue.elastic.connection import address_of, connect, mapped, settings_of
from tierflow.catalogue.elastic.index import put_templates
from tierflow.catalogue.elastic.outputs import common_settings, config_of, open_output
from tierflow.commands import _elastic_show as show
from tierflow.commands._console import console
from tierflow.commands._options import DryRun, Results
from tierflow.config import Elasticsearch
from tierflow.errors import EXIT_INTERNAL, ConfigError
from tierflow.io.atomic import write_text
from tierflow.lock import run_lock

if TYPE_CHECKING:
    import pyarrow as pa
    from elasticsearch import Elasticsearch as Client

    from tierflow.catalogue.elastic.outputs import Output
    from tierflow.config import Config

EXAMPLES = 20

Url = Annotated[
    str | None,
    Parameter(
        help="Address of the server, such as https://search.lab:9200; without it the output's, or TIERFLOW_ES_URL."
    ),
]
Alias = Annotated[str | None, Parameter(help="Alias of the objects, such as lab-objects; tierflow-objects without it.")]
Format = Annotated[Literal["table", "json"], Parameter(name=["--format", "-f"])]
Limit = Annotated[int, Parameter(help="Most differences described.")]
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], negative=(), help="Do it without asking.")]
Outputs = Annotated[Path, Parameter(help="Output folders whose Parquet refills their runs; others are copied.")]


def _examples(*lines: str) -> str:
    text = "\n".join(lines)
    return f"Examples:\n```\n{text}\n```\n"


app = App(
    name="elastic",
    help="Look after the catalogue on an Elasticsearch server. Credentials come from TIERFLOW_ES_API_KEY, or "
    "TIERFLOW_ES_USER and TIERFLOW_ES_PASSWORD, or the configuration's credentials file.",
    help_epilogue=_examples("tierflow elastic status", "tierflow elastic check results"),
    result_action="return_value",
)
dashboards = App(name="dashboards", help="Kibana's dashboards over the catalogue.", result_action="return_value")
app.command(dashboards)


@app.command(
    name="template",
    help_epilogue=_examples(
        "tierflow elastic template --out template.json",
        "tierflow elastic template --put --url https://search.lab:9200",
    ),
)
def template_command(
    *,
    alias: Alias = None,
    out: Annotated[Path | None, Parameter(help="Write it to this file.")] = None,
    put: Annotated[bool, Parameter(negative=(), help="Put it on the server as well.")] = False,
    url: Url = None,
) -> None:
    """Print the index template and its component templates as JSON: types of all fields, and settings."""
    settings = _server(url, alias) if put else _with_alias(Elasticsearch(), alias)
    tree = {
        "index_templates": {settings.alias: template.index_template(settings, {})},
        "component_templates": template.component_templates(settings, {}),
    }
    text = json.dumps(tree, indent=2) + "\n"
    if out is not None:
        write_text(out, text)
    elif not put:
        sys.stdout.write(text)
    if put:
        with _connected(settings) as client:
            put_templates(client, settings, features={})
        show.line(console(error=True), f"templates of {settings.alias} are on {settings.url}; indices stay as they are")


@app.command(
    help_epilogue=_examples(
        "tierflow elastic status", "tierflow elastic status --url https://search.lab:9200 --format json"
    )
)
def status(
    output: Annotated[Path | None, Parameter(help="Output folder of a run, for its server.")] = None,
    /,
    *,
    url: Url = None,
    alias: Alias = None,
    format: Format = "table",  # noqa: A002
) -> None:
    """Show the server's health, the indices of the alias, and the runs in them. Nothing is changed."""
    settings = _server(url, alias, output)
    with _connected(settings) as client:
        found = looking.status(client, settings)
    if format == "json":
        sys.stdout.write(show.status_json(found) + "\n")
    else:
        show.show_status(found, console())


@app.command(
    help_epilogue=_examples(
        "tierflow elastic migrate results other-results --dry-run",
        "tierflow elastic migrate results other-results",
        "tierflow elastic migrate --shards 3 --replicas 1",
        "tierflow elastic migrate --rollback",
    )
)
def migrate(
    *outputs: Outputs,
    url: Url = None,
    alias: Alias = None,
    shards: Annotated[
        int | None,
        Parameter(
            validator=Number(gte=1, lte=1024), help="Primary shards of the new index; as many as now without it."
        ),
    ] = None,
    replicas: Annotated[
        int | None, Parameter(validator=Number(gte=0, lte=10), help="Copies of each shard; as many as now without it.")
    ] = None,
    rollback: Annotated[bool, Parameter(negative=(), help="Swap the alias back to the index before.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Fill a new index from Parquet and swap the alias to it; needed after an update that changes documents.

    Runs whose OUTPUT isn't given are copied from the old index. Searches go on all the time; publishing is told to try
    again (exit code 75) until the swap. The old index stays, for `--rollback`, which also gives up a migration that
    was killed; the same command again starts it anew.
    """
    if rollback:
        if shards is not None or replicas is not None:
            raise ConfigError("--rollback takes no --shards or --replicas: it goes back to the index as it was")
        _rollback(_server(url, alias, outputs[0] if outputs else None), dry_run=dry_run)
        return
    opened = [open_output(folder) for folder in outputs]
    settings = _server(url, alias, base=common_settings(opened) if opened else None)
    with _connected(settings) as client:
        if dry_run:
            plan = migration.make_plan(client, settings, opened, shards=shards, replicas=replicas)
            show.show_plan(plan, console())
            return
        with _progress("migrating", total=None) as advance:
            outcome = migration.migrate(client, settings, opened, shards=shards, replicas=replicas, on_progress=advance)
    show.show_outcome(outcome, console())


@app.command(help_epilogue=_examples("tierflow elastic rebuild results --dry-run", "tierflow elastic rebuild results"))
def rebuild(
    results: Results, /, *, url: Url = None, alias: Alias = None, limit: Limit = EXAMPLES, dry_run: DryRun = False
) -> int:
    """Send every record of a run again from Parquet, make the index if it is missing, and compare the two.

    Documents of the run that Parquet doesn't have are deleted, records that were refused are tried again. Killed in the
    middle, the same command goes on. Other runs aren't touched. Exit code 70 if something differs in the end.
    """
    settings = _server(url, alias, results)
    with run_lock(results.absolute()):
        output = open_output(results.absolute())
        if dry_run:
            _show_rebuild_plan(output, settings)
            return 0
        with tempfile.TemporaryDirectory(prefix="tierflow-rebuild-") as scratch, _connected(settings) as client:
            config = Path(scratch) / "config.yaml"
            config_io.write(config, _with_server(output, settings))
            from tierflow.catalogue.elastic.rebuild import rebuild as send_again

            with _progress("sending", total=output.records) as advance:
                done = send_again(client, settings, output, config=config, on_progress=advance)
    show.line(
        console(error=True),
        f"{done.shards:,} shards sent, {done.skipped:,} were sent before the last stop, "
        f"{done.deleted:,} documents deleted",
    )
    return _check(output, settings, limit=limit, format="table")


@app.command(help_epilogue=_examples("tierflow elastic check results", "tierflow elastic check results --format json"))
def check(
    results: Results,
    /,
    *,
    url: Url = None,
    alias: Alias = None,
    limit: Limit = EXAMPLES,
    format: Format = "table",  # noqa: A002
) -> int:
    """Compare a run's Parquet with the server, record by record and in both directions; exit code 70 if they differ.

    Every field of every document is compared. What was published a moment ago counts; nothing is changed.
    """
    return _check(open_output(results.absolute()), _server(url, alias, results), limit=limit, format=format)


@app.command(help_epilogue=_examples("tierflow elastic forget plate-7-3fa2c1 --dry-run"))
def forget(
    run: Annotated[str, Parameter(help="Name of the run, as `tierflow elastic status` shows it.")],
    /,
    *,
    url: Url = None,
    alias: Alias = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Delete all documents of a run from the server. Its Parquet stays: `tierflow elastic rebuild` brings them back."""
    settings = _server(url, alias)
    with _connected(settings) as client:
        count = forgetting.count_run(client, settings, run)
        what = f"{count:,} documents of run {run} from {settings.alias} at {settings.url}"
        if dry_run:
            show.line(console(), f"would delete {what}")
            return
        if not yes:
            raise ConfigError(f"this would delete {what}: add --yes to do it, or --dry-run to look only")
        with _progress("deleting", total=count) as advance:
            deleted = forgetting.forget(client, settings, run, on_progress=advance)
    show.line(console(), f"{deleted:,} documents deleted; `tierflow elastic rebuild OUTPUT` brings them back")


@dashboards.command(help_epilogue=_examples("tierflow elastic dashboards install --kibana http://localhost:5601"))
def install(
    *,
    kibana: Annotated[str, Parameter(help="Address of Kibana, with its base path where it has one.")],
    space: Annotated[str | None, Parameter(help="Kibana space; the default one without it.")] = None,
    alias: Alias = None,
    thumbnail_url: Annotated[
        str | None, Parameter(help="Address of `tierflow serve`, for thumbnails, such as http://files.lab:8600.")
    ] = None,
) -> None:
    """Bring data views, saved searches and dashboards to a Kibana; those of an earlier installation are replaced."""
    from tierflow.kibana.install import install as install_dashboards

    settings = _with_alias(Elasticsearch(), alias)
    done = install_dashboards(kibana, space=space, alias=settings.alias, thumbnail_url=thumbnail_url, settings=settings)
    show.line(console(), f"{done.objects} objects installed, with the dashboards {', '.join(done.titles)}: {done.url}")


@dashboards.command(help_epilogue=_examples("tierflow elastic dashboards export kibana/ --alias lab-objects"))
def export(
    folder: Annotated[Path, Parameter(help="Where to write the .ndjson files that Kibana's page Saved objects takes.")],
    /,
    *,
    alias: Alias = None,
    thumbnail_url: Annotated[str | None, Parameter(help="As for `install`.")] = None,
) -> None:
    """Write data views, saved searches and dashboards to files, for a Kibana that can't be reached from here."""
    from tierflow.kibana.install import export as export_dashboards

    settings = _with_alias(Elasticsearch(), alias)
    for path in export_dashboards(folder, alias=settings.alias, thumbnail_url=thumbnail_url):
        show.line(console(), str(path))


def _rollback(settings: Elasticsearch, *, dry_run: bool) -> None:
    with _connected(settings) as client:
        found = rolling.rollback(client, settings, dry_run=dry_run)
    show.show_rollback(found, console(), dry_run=dry_run)


def _check(output: Output, settings: Elasticsearch, *, limit: int, format: Literal["table", "json"]) -> int:  # noqa: A002
    with _connected(settings) as client, _progress("comparing", total=output.records) as advance:
        client.indices.refresh(index=settings.alias)
        records = compare.Records(output, reasons=_dead_letters(output), on_progress=advance)
        try:
            found = compare.compare(client, settings.alias, records, examples=limit)
        finally:
            records.close()
    if format == "json":
        sys.stdout.write(show.comparison_json(found) + "\n")
    else:
        show.show_comparison(found, console())
    return 0 if found.equal else EXIT_INTERNAL


def _show_rebuild_plan(output: Output, settings: Elasticsearch) -> None:
    dead = sum(table.num_rows for table in _dead_letters(output))
    with _connected(settings) as client:
        there = client.indices.exists_alias(name=settings.alias)
        extra = 0
        if there:
            client.indices.refresh(index=settings.alias)
            records = compare.Records(output)
            found = compare.compare(client, settings.alias, records, examples=0)
            records.close()
            extra = found.counts["extra"]
    made = "" if there else f"make an index behind {settings.alias}, "
    show.line(
        console(),
        f"would {made}send {output.records:,} records of run {output.run} to {settings.url} ({dead:,} of them were "
        f"refused before) and delete {extra:,} documents that Parquet doesn't have",
    )


def _dead_letters(output: Output) -> Iterator[pa.Table]:
    shards = {Path(name).name for name in output.files}
    for path in sorted((output.folder / "dead_letters").glob("[0-9]*.parquet")):
        if path.name in shards:
            yield tables.read(path, ["object_id", "reason"])


def _server(
    url: str | None, alias: str | None, output: Path | None = None, *, base: Elasticsearch | None = None
) -> Elasticsearch:
    """Return the settings of the server: an output's, with the command line's address and alias over them."""
    found = base or (config_of(output).catalogue.elasticsearch if output else Elasticsearch())
    return _with_alias(settings_of(url or address_of(found), found), alias)


def _with_alias(settings: Elasticsearch, alias: str | None) -> Elasticsearch:
    if alias is None:
        return settings
    try:
        return Elasticsearch.model_validate(settings.model_dump() | {"alias": alias})
    except ValidationError as error:
        raise ConfigError(
            f"--alias {alias!r} can't be one: expected small letters, digits, dots, - and _, ending with -objects, "
            "such as lab-objects"
        ) from error


def _with_server(output: Output, settings: Elasticsearch) -> Config:
    tree = output.config.model_dump(mode="json")
    tree["catalogue"]["elasticsearch"] = settings.model_dump(mode="json")
    return config_io.validate(tree)


@contextmanager
def _connected(settings: Elasticsearch) -> Iterator[Client]:
    """Give a client; its errors become ours."""
    with mapped(settings), connect(settings) as client:
        yield client


@contextmanager
def _progress(what: str, *, total: int | None) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.update(task, advance=count)
