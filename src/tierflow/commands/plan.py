"""`tierflow plan`: what a run is going to need. `tierflow cost`: what it did need, beside the plan.

Two commands, because one is asked of a folder of images and measures, the other of a run's output and only adds up.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from tierflow.commands._options import ConfigFile, Dataset, Params, Results, Settings, configured
from tierflow.errors import ConfigError
from tierflow.output_folder import require_room
from tierflow.sizing.engines import ENGINES
from tierflow.sizing.finish import Priced
from tierflow.sizing.keep import keep, kept
from tierflow.sizing.plan_table import Plan
from tierflow.sizing.prices import load_prices
from tierflow.sizing.show import as_csv, show

Prices = Annotated[Path | None, Parameter(help="Price file (YAML); the dated examples of tierflow without it.")]
OfferName = Annotated[str | None, Parameter(help="Which offer of the price file; the first without it.")]
Format = Annotated[Literal["table", "json", "csv"], Parameter(name=["--format", "-f"], help="How to print.")]
EgressShare = Annotated[float, Parameter(help="Share of all bytes, 0 to 1, that leaves the provider once.")]
PerDay = Annotated[float | None, Parameter(help="Add what a steady stream of so many images a day needs.")]


def plan(
    input: Annotated[Path, Parameter(help="Folder of images.")],  # noqa: A002
    /,
    *,
    output: Annotated[
        Path | None,
        Parameter(
            name=["--output", "-o"],
            help="Folder that the run is going to use; the plan is kept there for `tierflow cost`.",
        ),
    ] = None,
    config: ConfigFile = None,
    params: Params = None,
    dataset: Dataset = None,
    set: Settings = None,  # noqa: A002
    workers: Annotated[
        list[int] | None,
        Parameter(consume_multiple=True, negative=(), help="Numbers of workers (cores): wall time for each."),
    ] = None,
    engine: Annotated[
        Literal["local", "slurm", "argo"], Parameter(help="Whose overhead per job is counted.")
    ] = "local",
    sample: Annotated[int, Parameter(help="Objects to read and measure, about.")] = 24,
    prices: Prices = None,
    offer: OfferName = None,
    egress_share: EgressShare = 0.0,
    images_per_day: PerDay = None,
    share: Annotated[
        list[str] | None,
        Parameter(
            consume_multiple=True,
            negative=(),
            help="Share of the objects by tier, such as `A=0.2 D=0.8`, in place of the policy's.",
        ),
    ] = None,
    format: Format = "table",  # noqa: A002
) -> None:
    """Estimate time, memory, storage and money of a run, from the listing of its input and a small sample.

    The sample is read and measured and every step is tried on a small scale in a temporary folder; nothing is moved or
    changed. Intervals come from the sample's spread.
    """
    numbers = tuple(workers or (1, 2))
    for value, least, name in ((min(numbers), 1, "--workers"), (sample, 2, "--sample")):
        if value < least:
            raise ConfigError(f"{name} is {value}: expected {least} or more")
    priced = replace(_priced(prices, offer, egress_share, images_per_day), engine=ENGINES[engine], workers=numbers)
    tree = configured({}, config=config, settings=set, params=params, dataset=dataset)
    # Imported late: the steps bring all of tierflow with them.
    from tierflow.config_io import validate
    from tierflow.sizing.make import make_plan

    resolved = validate(tree | {"input": str(input.expanduser().absolute())})
    shares = _shares(share, list(resolved.tiers)) if share else None
    made = make_plan(resolved, priced, objects=sample, shares=shares, output=output)
    if output is not None:
        require_room(output)
        keep(made, output)
    _print(made, None, format)


def cost(
    results: Results,
    /,
    *,
    prices: Prices = None,
    offer: OfferName = None,
    egress_share: EgressShare = 0.0,
    images_per_day: PerDay = None,
    format: Format = "table",  # noqa: A002
) -> None:
    """Show what a run did need, by step, tier, owner and plate, beside the plan that `tierflow plan --output` kept.

    Processor time is what the logs of all steps say, repetitions included. The owner is the metadata field `owner`
    where there is one, else the owner of the file.
    """
    from tierflow.sizing.actual import make_bill

    before = kept(results)
    # Sums of the same offer can be compared; a price file of another facility has other names.
    known = load_prices(prices).offers
    if offer is None and before is not None and before.money.offer in known:
        offer = before.money.offer
    made = make_bill(results, _priced(prices, offer, egress_share, images_per_day))
    _print(made, before, format)


def _priced(prices: Path | None, offer: str | None, egress_share: float, images_per_day: float | None) -> Priced:
    if not 0 <= egress_share <= 1:
        raise ConfigError(f"--egress-share is {egress_share}: expected a share from 0 to 1")
    if images_per_day is not None and images_per_day <= 0:
        raise ConfigError(f"--images-per-day is {images_per_day}: expected more than 0")
    name, found = load_prices(prices).offer(offer)
    return Priced(name, found, egress_share=egress_share, images_per_day=images_per_day)


def _shares(texts: list[str], tiers: list[str]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for text in texts:
        tier, _, number = text.partition("=")
        if tier not in tiers:
            raise ConfigError(f"--share {text!r}: no tier {tier!r}; `tiers` has {', '.join(tiers)}")
        try:
            shares[tier] = float(number)
        except ValueError as error:
            raise ConfigError(f"--share {text!r}: expected TIER=NUMBER, such as A=0.2") from error
    if any(not 0 <= value <= 1 for value in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise ConfigError(f"--share: {sum(shares.values()):g} in all, expected shares from 0 to 1 that add up to 1")
    return shares


def _print(made: Plan, estimate: Plan | None, format: str) -> None:  # noqa: A002
    console = Console()
    if format == "table":
        show(made, console, estimate=estimate)
    elif format == "csv":
        console.out(as_csv(made, estimate), end="", highlight=False)
    else:
        whole = made.model_dump(mode="json") | {"plan": estimate.model_dump(mode="json") if estimate else None}
        console.print_json(data=whole)
