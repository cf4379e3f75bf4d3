"""`tierflow watch`: every image of a folder as it arrives."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from tierflow.commands._options import ConfigFile, Dataset, OutputFolder, Params, Settings, configured
from tierflow.config_io import merge, validate
from tierflow.errors import ConfigError, InputMissingError
from tierflow.io.remote import input_root
from tierflow.objectstore.connect import StorePath, is_url
from tierflow.output_folder import require_two_folders
from tierflow.render.snakemake import resolve

_LOOK_S = 1.0

_ONCE_S = 15.0


def watch(
    input: Annotated[str | None, Parameter(help="Folder that images arrive in.")] = None,  # noqa: A002
    /,
    *,
    output: OutputFolder = None,
    config: ConfigFile = None,
    params: Params = None,
    dataset: Dataset = None,
    set: Settings = None,  # noqa: A002
    include: Annotated[
        list[str] | None,
        Parameter(negative=(), help="Glob pattern of files to take, such as `**/*.tif`; may be given several times."),
    ] = None,
    tag: Annotated[
        str | None, Parameter(help="Tag of all objects that no pattern of `stream.ranks` gives one.")
    ] = None,
    once: Annotated[
        bool,
        Parameter(
            negative=(),
            help="Handle everything that is there, then end. What isn't complete is taken as it is after 15 s, unless "
            "stream.complete.give_up_s and stream.series.timeout_s say otherwise.",
        ),
    ] = False,
    drain_after_idle: Annotated[
        float | None,
        Parameter(help="End after so many seconds with nothing to do; a file that isn't complete yet is waited for."),
    ] = None,
    wait_for_input: Annotated[
        bool, Parameter(negative=(), help="Wait for a folder that isn't there yet, such as a share that is mounted.")
    ] = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative=(), help="Log only warnings.")] = False,
) -> int:
    """Measure, score, place and catalogue every image of a folder as it arrives; nothing is lost by a stop.

    Ctrl-C finishes what is being handled and ends; a second one ends at once. The same command goes on from there.
    """
    tree = _with(configured({}, config=config, settings=set, params=params, dataset=dataset), include, tag)
    if once:
        tree = merge({"stream": {"complete": {"give_up_s": _ONCE_S}, "series": {"timeout_s": _ONCE_S}}}, tree)
    if input is not None:
        tree["input"] = input
    if not tree.get("input"):
        raise ConfigError("no input: give the folder that images arrive in, such as `tierflow watch my_plate`")
    if output and is_url(output):
        raise ConfigError(f"--output {output}: a stream writes to a folder; give one")
    workflow = resolve(tree | ({"output": output} if output else {}))
    source = input_root(workflow.config.input or "")
    if isinstance(source, StorePath):
        raise ConfigError(
            f"input {source}: folders are watched, not object stores. Use `tierflow run {source}` for what is there, "
            "or let events of the store submit batches by Argo Events (docs/argo.md)"
        )
    console = Console(stderr=True)
    _log(console, quiet=quiet)
    _require(source, wait=wait_for_input)
    require_two_folders(source, workflow.output)
    # Here, because it imports everything: a wrong option is told at once.
    from tierflow.stream.memory import hold_tables_in_system_memory
    from tierflow.stream.service import Service

    hold_tables_in_system_memory()
    service = Service(workflow.config, source, workflow.output, once=once, idle_s=drain_after_idle, console=console)
    return service.run()


def _with(tree: dict[str, Any], include: list[str] | None, tag: str | None) -> dict[str, Any]:
    """Lay the command's own options over a configuration."""
    if include:
        tree = merge(tree, {"scan": {"include": include}})
    if tag:
        ranks = [*validate(tree).model_dump(mode="json")["stream"]["ranks"], {"match": "**", "tag": tag}]
        tree = merge(tree, {"stream": {"ranks": ranks}})
    return tree


def _require(source: Path, *, wait: bool) -> None:
    """See that the input is there.

    Raises:
        InputMissingError: if it isn't, and nobody wants to wait.
        ConfigError: if it is a file.
    """
    if source.is_file():
        raise ConfigError(f"input {source} is a file: give the folder that images arrive in")
    if not source.exists() and not wait:
        raise InputMissingError(
            f"input folder {source} does not exist: check the path, and that its share is mounted; "
            "--wait-for-input waits for it"
        )
    if not source.exists():
        logging.getLogger(__name__).warning("waiting for %s", source)
    while not source.is_dir():
        time.sleep(_LOOK_S)


class AboveTheLine(logging.Handler):
    """Writes a record above the line of a terminal that shows how the stream stands, not into it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            self._console.print(self.format(record), markup=False, highlight=False, soft_wrap=True)
        except Exception:
            # As all handlers do: what can't be logged is no reason to end.
            self.handleError(record)


def _log(console: Console, *, quiet: bool) -> None:
    handler = AboveTheLine(console) if console.is_terminal else logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("tierflow")
    log.addHandler(handler)
    log.setLevel(logging.WARNING if quiet else logging.INFO)
