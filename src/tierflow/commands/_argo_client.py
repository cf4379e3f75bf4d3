"""`tierflow argo submit`, `watch`, `logs`, `retry`, `approve`, `stop`: runs on a cluster, by HTTP or by kubectl."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console

from tierflow.commands._options import ConfigFile, Settings, parse_setting

Name = Annotated[str, Parameter(help="Name of the workflow, as `submit` said it.")]
Server = Annotated[
    str | None,
    Parameter(
        help="Address of the Argo server, such as https://localhost:2746; without it that of ARGO_SERVER, and without "
        "that kubectl is used. The token comes from ARGO_TOKEN."
    ),
]
Namespace = Annotated[
    str | None,
    Parameter(name=["--namespace", "-n"], help="Where tierflow is installed; ARGO_NAMESPACE, or tierflow, without it."),
]
Wait = Annotated[
    bool, Parameter(name=["--wait", "-w"], negative=(), help="Show the run until it ends, and exit as it does.")
]


def add_to(app: App) -> None:
    """Register the commands."""
    for command, examples in _COMMANDS.items():
        lines = "\n".join(examples)
        app.command(command, help_epilogue=f"Examples:\n```\n{lines}\n```\n")


def submit(
    input: Annotated[str, Parameter(help="Folder of images as the pods see it, such as /images/plate1.")],  # noqa: A002
    /,
    *,
    output: Annotated[
        str | None,
        Parameter(
            name=["--output", "-o"], help="Folder for the results as the pods see it; else /results/NAME-tierflow."
        ),
    ] = None,
    config: ConfigFile = None,
    set: Settings = None,  # noqa: A002
    parameter: Annotated[
        list[str] | None,
        Parameter(
            name=["--parameter", "-p"],
            negative=(),
            help="Another parameter of the template, such as `-p approve-above=0.2`. May be given several times.",
        ),
    ] = None,
    parallelism: Annotated[
        int | None, Parameter(validator=Number(gte=1), help="Most pods of this run at a time; as the template says.")
    ] = None,
    template: Annotated[str, Parameter(help="Workflow template to use.")] = "tierflow-batch",
    wait: Wait = False,
    dry_run: Annotated[bool, Parameter(negative=(), help="Let the cluster check the run, and start nothing.")] = False,
    server: Server = None,
    namespace: Namespace = None,
) -> int:
    """Start a run on the cluster.

    Configuration given here is laid over that of the installation. A file or setting that names one of `tiers` or of
    `parameters` names all of them: those that it leaves out are tierflow's own, not the installation's.
    """
    from tierflow.argo.client import connect
    from tierflow.argo.client_state import name_of
    from tierflow.argo.client_submit import check_parameters, config_text, parse_parameters, workflow_of
    from tierflow.argo.client_watch import watch as watching
    from tierflow.config_io import read_tree

    text = config_text(read_tree(config) if config else {}, [parse_setting(setting) for setting in set or ()])
    given = parse_parameters(parameter or ()) | {"input": input}
    given |= {name: value for name, value in (("output", output), ("config", text)) if value}
    argo = connect(server=server, namespace=namespace)
    check_parameters(given, argo.template(template))
    made = argo.submit(workflow_of(template, given, parallelism=parallelism), dry_run=dry_run)
    console = _console(error=True)
    if dry_run:
        console.print(f"the cluster would take this run of {template}; nothing was started", markup=False)
        return 0
    name = name_of(made)
    sys.stdout.write(f"{name}\n")
    if wait:
        return watching(argo, name, _console())
    console.print(f"To follow it: tierflow argo watch {name} --namespace {argo.namespace}", markup=False)
    return 0


def watch(name: Name, /, *, server: Server = None, namespace: Namespace = None) -> int:
    """Show how far a run is until it ends; exit with 0, or with the exit code of the pod that failed.

    Leaving it by Ctrl-C doesn't stop the run.
    """
    from tierflow.argo.client import connect
    from tierflow.argo.client_watch import watch as watching

    return watching(connect(server=server, namespace=namespace), name, _console())


def logs(
    name: Name,
    /,
    *,
    step: Annotated[str | None, Parameter(help="Only the pods of this step, such as extract.")] = None,
    follow: Annotated[
        bool, Parameter(name=["--follow", "-f"], negative=(), help="Go on with new lines until the run ends.")
    ] = False,
    server: Server = None,
    namespace: Namespace = None,
) -> None:
    """Print what the pods of a run wrote, each line after its pod.

    Pods that succeeded are removed by default; what their steps wrote stays in `logs/` of the output folder.
    """
    from tierflow.argo.client import connect
    from tierflow.argo.client_logs import lines_of

    count = 0
    for pod, line in lines_of(connect(server=server, namespace=namespace), name, step=step, follow=follow):
        sys.stdout.write(f"{pod}: {line}\n")
        sys.stdout.flush()
        count += 1
    if not count:
        _console(error=True).print(
            "no pod of it is left: pods that succeeded are removed; see logs/ in the output folder", markup=False
        )


def retry(name: Name, /, *, wait: Wait = False, server: Server = None, namespace: Namespace = None) -> int:
    """Do again what failed in a run; what is up to date stays as it is.

    By kubectl this is a new workflow with the same parameters, because only Argo's server can reopen an old one.
    """
    from tierflow.argo.client import connect
    from tierflow.argo.client_watch import watch as watching

    argo = connect(server=server, namespace=namespace)
    running = argo.retry(name)
    sys.stdout.write(f"{running}\n")
    return watching(argo, running, _console()) if wait else 0


def approve(
    name: Name,
    /,
    *,
    no: Annotated[
        bool, Parameter(negative=(), help="Answer NO: the run ends, and every file stays where it is.")
    ] = False,
    dry_run: Annotated[bool, Parameter(negative=(), help="Only show what it waits for.")] = False,
    server: Server = None,
    namespace: Namespace = None,
) -> None:
    """Answer YES to a run that waits for a person before it places files; --no answers NO."""
    from tierflow.argo.client import connect
    from tierflow.argo.client_acts import approve as answering

    answering(connect(server=server, namespace=namespace), name, "NO" if no else "YES", _console(), dry_run=dry_run)


def stop(name: Name, /, *, server: Server = None, namespace: Namespace = None) -> None:
    """End a run: no further step begins. Nothing is lost: `retry`, or a new run for the same output, goes on."""
    from tierflow.argo.client import connect
    from tierflow.argo.client_acts import stop as stopping

    stopping(connect(server=server, namespace=namespace), name)
    _console(error=True).print(f"{name} is being stopped", markup=False, highlight=False)


def _console(*, error: bool = False) -> Console:
    return Console(stderr=error, highlight=False, soft_wrap=True)


_COMMANDS: dict[Callable[..., Any], tuple[str, ...]] = {
    submit: (
        "tierflow argo submit /images/plate1",
        "tierflow argo submit /images/plate1 --output /results/first --config screen.yaml --wait",
        "tierflow argo submit /images/plate1 --set score.function=haste --parallelism 20 --dry-run",
        "tierflow argo submit /images/plate1 -p approve-above=0.2 --server https://localhost:2746",
    ),
    watch: ("tierflow argo watch tierflow-batch-x7k2p",),
    logs: (
        "tierflow argo logs tierflow-batch-x7k2p",
        "tierflow argo logs tierflow-batch-x7k2p --step extract --follow",
    ),
    retry: ("tierflow argo retry tierflow-batch-x7k2p --wait",),
    approve: ("tierflow argo approve tierflow-batch-x7k2p", "tierflow argo approve tierflow-batch-x7k2p --no"),
    stop: ("tierflow argo stop tierflow-batch-x7k2p",),
}
