"""Prices as data: the models of a price file, read and judged in one place.

`config/prices.yaml` holds examples with their dates and sources; a facility writes its own file in the same form.
"""

from __future__ import annotations

import datetime  # noqa: TC003 - pydantic reads the annotation
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import Field, ValidationError, model_validator

from tierflow.config_io import explain_parameters, read_tree
from tierflow.config_section import Section
from tierflow.errors import ConfigError, InputMissingError

if TYPE_CHECKING:
    from collections.abc import Sequence

Amount = Annotated[float, Field(ge=0)]
OLD_AFTER_DAYS = 365


class StorageClass(Section):
    """What it costs to keep bytes in one class of storage, and to touch them. 1 GB is 10^9 bytes."""

    gb_month: Amount = Field(description="Per GB and month.")
    put_per_1000: Amount = Field(0.0, description="Per 1,000 writing requests (PUT, COPY, LIST).")
    get_per_1000: Amount = Field(0.0, description="Per 1,000 reading requests (GET, HEAD).")
    retrieval_gb: Amount = Field(0.0, description="Per GB that is read back out of the class.")
    min_days: Annotated[int, Field(ge=0)] = Field(0, description="Days that are paid for at least.")
    about: str = Field("", description="What it is, in words.")


class Compute(Section):
    """What computing costs."""

    vcpu_hour: Amount = Field(description="Per virtual core and hour.")
    memory_gb_hour: Amount = Field(0.0, description="Per GB of memory and hour.")


class Offer(Section):
    """The prices of one provider in one region."""

    provider: str = Field(min_length=1, description="Who is paid.")
    region: str = Field(min_length=1, description="Where.")
    currency: str = Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code, such as EUR.")
    as_of: datetime.date = Field(description="Day on which the prices were read.")
    source: str = Field(min_length=1, description="Where they were read, in words.")
    storage: dict[str, StorageClass] = Field(min_length=1, description="Classes by name, the fastest first.")
    tiers: dict[str, str] = Field(
        default_factory=dict, description="Class of a tier (or of `input` or `quarantine`) by the tier's name."
    )
    egress_gb: Amount = Field(0.0, description="Per GB that leaves the provider.")
    compute: Compute

    @model_validator(mode="after")
    def _known_classes(self) -> Offer:
        for tier, name in self.tiers.items():
            if name not in self.storage:
                raise ValueError(f"tiers.{tier}: no storage class {name!r}; `storage` has {', '.join(self.storage)}")
        return self

    def class_of(self, tier: str, tiers: Sequence[str]) -> str:
        """Return the storage class of a tier.

        What `tiers` says; else the classes are dealt out in their order, the best tier in the first and the worst in
        the last class. The input is in the first class, the quarantine in the one of the worst tier.

        Args:
            tier: Name of a tier, `quarantine` or `input`.
            tiers: All tiers, best first, without the quarantine.

        >>> offer = example("on-premises")
        >>> offer.class_of("A", ["A", "B", "C"]), offer.class_of("C", ["A", "B", "C"])
        ('disk', 'tape')
        """
        if tier in self.tiers:
            return self.tiers[tier]
        names = list(self.storage)
        if tier not in tiers:
            return names[0] if tier == "input" else self.class_of(tiers[-1], tiers)
        return names[round(list(tiers).index(tier) * (len(names) - 1) / max(len(tiers) - 1, 1))]

    def age_warning(self, today: datetime.date) -> str | None:
        """Say that the prices are old, in words; None when they aren't."""
        age = (today - self.as_of).days
        if age <= OLD_AFTER_DAYS:
            return None
        return (
            f"the prices of {self.provider} ({self.region}) are of {self.as_of}, {age} days old: "
            "read them again and set a new `as_of`, or give a file of your own to --prices"
        )


class Prices(Section):
    """A price file: offers by name."""

    offers: dict[str, Offer] = Field(min_length=1, description="Offers by name, the default first.")

    def offer(self, name: str | None) -> tuple[str, Offer]:
        """Return an offer with its name; the first one without a name.

        Raises:
            ConfigError: if there is none of that name.
        """
        chosen = name or next(iter(self.offers))
        if chosen not in self.offers:
            raise ConfigError(f"--offer {chosen!r}: the price file has {', '.join(self.offers)}")
        return chosen, self.offers[chosen]


def load_prices(path: Path | None) -> Prices:
    """Read a price file, or the examples that come with tierflow.

    Raises:
        InputMissingError: if there is no such file.
        ConfigError: naming every wrong key, its value and the remedy.
    """
    found = path or example_file()
    try:
        tree = read_tree(found)
    except InputMissingError as error:
        raise InputMissingError(f"price file {found} not found: check the path given to --prices") from error
    return _validated(tree, str(found))


@cache
def example(name: str) -> Offer:
    """Return one of the examples."""
    return load_prices(None).offer(name)[1]


def example_file() -> Path:
    """Return the examples: the file in the wheel, or the checkout's when tierflow is installed in place."""
    package = Path(str(files("tierflow")))
    carried = package / "workflow" / "config" / "prices.yaml"
    return carried if carried.exists() else package.parents[1] / "config" / "prices.yaml"


def dump(offer: Offer) -> str:
    """Return an offer as YAML, to start a file of one's own from."""
    return yaml.safe_dump({"offers": {"mine": offer.model_dump(mode="json")}}, sort_keys=False, allow_unicode=True)


def _validated(tree: dict[str, Any], where: str) -> Prices:
    try:
        return Prices.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(explain_parameters(error, where=where, model=Prices)) from error
