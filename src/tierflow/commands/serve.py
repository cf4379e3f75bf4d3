"""`tierflow serve` and `tierflow metrics`: thumbnails, reports and live views for browsers, figures for Prometheus."""

from __future__ import annotations

import getpass
import logging
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tierflow.errors import ConfigError
from tierflow.io.atomic import write_text
from tierflow.metrics import exposition
from tierflow.receipts import run_state

Outputs = Annotated[list[Path], Parameter(help="Output folders of runs.", negative=())]


def serve(
    outputs: Annotated[
        list[Path],
        Parameter(
            help="Output folders of runs, or a folder of such folders; new runs in it appear by themselves.",
            negative=(),
        ),
    ] = [],  # noqa: B006 - only read
    /,
    *,
    host: Annotated[str, Parameter(help="Address to listen on; any but this machine's own lets others in.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, Parameter(help="Port to listen on; 0 takes a free one.")] = 8600,
    tokens: Annotated[
        Path | None, Parameter(help="File of tokens: role (viewer, operator, admin), then name and sha256 of each.")
    ] = None,
    allow_actions: Annotated[
        bool,
        Parameter(negative=(), help="Without --tokens: print a token with which you may act until the server ends."),
    ] = False,
    run_inputs: Annotated[
        list[Path],
        Parameter(
            help="Let admins begin runs by POST /runs, of inputs in these folders; they go into the first of OUTPUTS.",
            negative=(),
        ),
    ] = [],  # noqa: B006 - only read
    make_token: Annotated[
        str | None, Parameter(help="Print a new token of this role, and its line for the file of tokens; then end.")
    ] = None,
    name: Annotated[str, Parameter(help="Whose token --make-token makes.")] = "",
) -> None:
    """Show thumbnails, reports, live views of streams and metrics in the browser until Ctrl+C.

    Everyone who reaches the address may look, unless there is a file of tokens; only who has a token may act.
    Addresses: `/`, `/live/1/`, `/report/1/`, `/thumbnail/OBJECT_ID.png`, `/metrics`, `/healthz`, `/readyz`, `/docs`.
    """
    # A command that only looks something up needn't wait for the web server's modules.
    from tierflow.serve import access as accesses

    if make_token is not None:
        if not name:
            raise ConfigError(f"--make-token {make_token}: whose token is it? Add --name, such as --name anna")
        _print_token(accesses, make_token, name)
        return
    if not outputs:
        raise ConfigError("give the output folder of a run, or a folder of such folders")
    from tierflow.serve.listen import Server, is_loopback
    from tierflow.serve.runs_api import runs_router
    from tierflow.serve.site import Site
    from tierflow.serve.web import application

    local = is_loopback(host)
    access, own = _access(accesses, tokens, allow_actions=allow_actions, local=local)
    site, runs = Site(outputs), _runs(outputs[0], run_inputs, access)
    web = application(site, access=access, loopback_only=local, routers=[runs_router(runs)] if runs else [])
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="tierflow: %(asctime)s %(message)s")
    server = Server(web.application, host=host, port=port, stopping=web.end)

    def tell() -> None:
        _tell_empty(site.empty())
        _tell(server.url, host=host, port=server.port, open_to_all=not local and tokens is None, own=own)

    try:
        server.listen(started=tell)
    finally:
        if runs:
            runs.close()


def _runs(folder: Path, inputs: list[Path], access: Any) -> Any:
    """Return what begins runs for admins; None where nobody may."""
    if not inputs:
        return None
    from tierflow.render.snakemake import CONFIG_FILE
    from tierflow.serve.runs import Runs

    if not access.has_tokens:
        raise ConfigError("--run-inputs needs --tokens with an admin: nobody else may begin runs")
    if (folder / CONFIG_FILE).exists():
        raise ConfigError(f"{folder} is a run: for --run-inputs, give a folder of runs first, where new ones can go")
    return Runs(folder / ".tierflow" / "asked", inputs=inputs, outputs=folder)


def _access(accesses: Any, tokens: Path | None, *, allow_actions: bool, local: bool) -> tuple[Any, str]:
    """Return who may do what, and the token of the local user, "" without any."""
    if tokens is not None:
        if allow_actions:
            raise ConfigError("--allow-actions and --tokens exclude each other: the file says who may act")
        return accesses.Access(accesses.read_tokens(tokens), without=accesses.Role.NOBODY), ""
    if not allow_actions:
        return accesses.Access(), ""
    if not local:
        raise ConfigError(
            "--allow-actions is for --host 127.0.0.1 only: for others, give a file of --tokens (see --make-token)"
        )
    own = accesses.make_token()
    person = accesses.Person(getpass.getuser(), accesses.Role.ADMIN)
    # Others who work on this machine reach the address as well: looking is free, acting needs what only we print.
    return accesses.Access([accesses.Token(person, accesses.digest_of(own))]), own


def _tell_empty(folders: list[Path]) -> None:
    """Say which folders hold nothing to show: right before the first run, else mostly a wrong folder."""
    for folder in folders:
        sys.stderr.write(
            f"tierflow: {folder} holds no run and no stream yet: those that begin in it appear by themselves; if there "
            "should be one now, give the --output of `tierflow run` or `tierflow watch`, or the folder it is in\n"
        )


def _tell(url: str, *, host: str, port: int, open_to_all: bool, own: str) -> None:
    if open_to_all:
        sys.stderr.write(
            f"tierflow: everyone who can reach {host} port {port} can see all images and reports of "
            "these runs: there is no password. Use --tokens to ask for one, or --host 127.0.0.1 to keep them to this "
            "machine.\n"
        )
    if own:
        sys.stderr.write(f"tierflow: to act, log in at {url}login with {own}\n")
    sys.stderr.write(f"tierflow: serving {url} until Ctrl+C\n")
    sys.stderr.flush()


def _print_token(accesses: Any, role: str, name: str) -> None:
    token, word = accesses.make_token(), accesses.role_of(role).word
    line = accesses.line_of(token, name=name)
    sys.stdout.write(
        f"Token for {name}, shown only now:\n\n  {token}\n\n"
        f"Line for the file of tokens, below `{word}:`\n\n{word}:\n{line}\n"
    )


def metrics(
    outputs: Outputs,
    /,
    *,
    out: Annotated[
        Path | None,
        Parameter(help="File that ends with .prom, in the folder of node_exporter's textfile collector."),
    ] = None,
) -> None:
    """Print how far the publication of runs to a server has come, in Prometheus' text format."""
    if out is not None and out.suffix != ".prom":
        raise ConfigError(f"--out {out}: node_exporter reads only files that end with .prom; name it so")
    text = exposition([run_state(output) for output in outputs], now=time.time())
    if out is None:
        sys.stdout.write(text)
    else:
        write_text(out, text)
