"""The configuration: one tree of models, unknown keys forbidden, units in the names.

`config/default.yaml`, `config/schema.json` and `config/README.md` are generated from these models.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tierflow.config_section import Section, Share
from tierflow.config_stream import Stream

if TYPE_CHECKING:
    from collections.abc import Iterable

TierName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]
QUARANTINE = "quarantine"


class Scan(Section):
    """Which files are objects, and what their names say."""

    include: tuple[str, ...] = Field(
        (),
        description=(
            "Glob patterns of files to take, matched against the path relative to the input; empty: every "
            "name that ends like an image (.tif, .tiff, .btf, .png, .jpg, .jpeg, .jp2, .bmp, .stk, .lsm "
            "...)."
        ),
    )
    exclude: tuple[str, ...] = Field((), description="Glob patterns of files and folders to leave out.")
    layout: str = Field(
        "auto", description="Naming layout; `auto` takes the one that fits best, `tierflow layouts FOLDER` shows which."
    )
    pattern: str | None = Field(
        None,
        description=(
            "For layout `regex`: regular expression on the relative path with named groups plate, well, "
            "row, column, site, channel, z, timepoint, acquired_at."
        ),
    )
    unit: Literal["file", "site", "well"] = Field("file", description="Which objects share one decision.")
    follow_links: bool = Field(False, description="Enter folders that are symbolic links; loops are detected.")
    read_headers: bool = Field(
        False,
        description=(
            "Open files whose names say nothing and read plate, well and channel from OME-XML or MetaMorph "
            "tags (slower)."
        ),
    )
    shard_objects: int = Field(1000, ge=1, le=100_000, description="Objects that one job handles, at most.")
    shard_mb: int = Field(
        8000, ge=1, description="Megabytes that one job reads, at most (one larger unit still makes one shard)."
    )

    @field_validator("pattern")
    @classmethod
    def _pattern_compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                groups = re.compile(value).groupindex
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from error
            if not groups:
                raise ValueError("has no named group such as (?P<well>[A-P][0-9]{2})")
        return value

    @model_validator(mode="after")
    def _pattern_with_regex(self) -> Scan:
        if (self.layout == "regex") != (self.pattern is not None):
            raise ValueError("`pattern` and `layout: regex` go together: give both or neither")
        return self


class Extract(Section):
    """Which features are measured, and with what knowledge of the camera."""

    extractors: tuple[str, ...] = Field(
        ("image_quality",), min_length=1, description="Installed extractors to run on every plane."
    )
    scales_px: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field(
        (10, 20), min_length=1, description="Spatial scales of LocalFocusScore and Correlation, in pixels."
    )
    pixel_size_um: float | None = Field(
        None, gt=0, description="Edge of a pixel in um where the files don't say; sets the band of mid_band_share."
    )
    bit_depth: Literal[8, 10, 12, 14, 16] | None = Field(
        None, description="Bits of the detector where known; empty: found from tags or content."
    )
    max_plane_mb: int = Field(
        1024, ge=1, description="Largest plane that is decoded, in MB; larger ones go to quarantine."
    )
    read_ahead_mb: int = Field(
        256, ge=1, description="Bytes of coming files held in memory while one is measured, in MB."
    )


class Baseline(Section):
    """Which planes are compared with each other."""

    by: tuple[Literal["plate", "channel"], ...] = Field(
        ("plate", "channel"), description="Columns that make a group of comparable planes."
    )
    min_planes: int = Field(
        8, ge=2, description="Groups with fewer planes have no robust z; functions then use absolute values."
    )


class FlagRule(Section):
    """One named finding and the limit that raises it."""

    flag: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Name of the finding.")
    feature: str = Field(description="Feature that is compared.")
    above: float | None = Field(None, description="Raised when the value is greater than this.")
    below: float | None = Field(None, description="Raised when the value is less than this.")
    robust_z: bool = Field(False, description="Compare the robust z within plate and channel instead of the raw value.")
    text: str = Field("", description="The finding in words, for the report.")

    @model_validator(mode="after")
    def _one_limit(self) -> FlagRule:
        if (self.above is None) == (self.below is None):
            raise ValueError("give exactly one of `above` and `below`")
        return self


class Aggregate(Section):
    """How the values of many planes become one value of the unit."""

    planes: Literal["max", "min", "mean", "median"] = Field(
        "max", description="Over z, time and series of one channel."
    )
    channels: Literal["max", "min", "mean", "median"] = Field("mean", description="Over the channels of a unit.")
    channel: str | None = Field(None, description="Only this channel counts; empty: all.")


# The limits and the false alarms they raise on 265 real images: design/focus.md.
def _default_flags() -> tuple[FlagRule, ...]:
    return (
        FlagRule(flag="blank", feature="structure_z", below=8, text="nothing stands out from the noise"),
        FlagRule(flag="out_of_focus", feature="sharpness", below=0.01, text="hardly any fine detail"),
        FlagRule(
            flag="saturated",
            feature="saturated_share",
            above=0.01,
            text="more than 1 % of the pixels are at the detector's limit",
        ),
        FlagRule(
            flag="mostly_black",
            feature="black_share",
            above=0.5,
            text="more than half of the pixels are exactly 0: masked, cropped or not recorded",
        ),
        FlagRule(
            flag="uneven_illumination",
            feature="illumination_ratio",
            above=10,
            robust_z=True,
            text="the background is far more uneven than is usual in this plate and channel",
        ),
        FlagRule(flag="non_finite", feature="finite_share", below=1, text="some pixels are not a number"),
    )


class Score(Section):
    """How interesting a unit is, and which findings are named."""

    function: str = Field(
        "focus",
        description=(
            "Interestingness function: focus, haste, logistic, expression, constant, random, rank_tier, kendall_tau or "
            "an installed one."
        ),
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Parameters of the function; `tierflow config parts` lists them."
    )
    aggregate: Aggregate = Field(default_factory=Aggregate)
    flags: tuple[FlagRule, ...] = Field(
        default_factory=_default_flags, description="Findings to name; give the whole list to change it."
    )


class PolicyConfig(Section):
    """How interestingness becomes a tier."""

    kind: str = Field("interval", description="interval, quantile, top_k, budget or an installed one.")
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Parameters of the policy; empty: quarters of [0, 1] over the tiers, best first.",
    )
    flag_tiers: dict[str, TierName] = Field(
        default_factory=dict,
        description=(
            "Tier that a flag forces, whatever the score; the first flag of this list that an object has decides."
        ),
    )


class Tier(Section):
    """A named place for files."""

    driver: str = Field(
        "link", description="link (hard link, else symbolic link), copy, move, none, trash or an installed one."
    )
    root: str | None = Field(
        None,
        description=(
            "Folder of the tier, or URL such as s3://bucket/folder (drivers copy, move, trash); empty: tiers/<name> "
            "in the output. Files keep their path relative to the input."
        ),
    )
    storage_class: str | None = Field(
        None,
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="Storage class where `root` is on S3, such as STANDARD_IA or GLACIER_IR; empty: the bucket's own.",
    )
    tags: dict[str, str] | None = Field(
        default_factory=dict,
        max_length=7,
        description=(
            "Tags of the files where `root` is on S3, beside tierflow_tier, tierflow_object_id and tierflow_dataset; "
            "null: no tags at all, for stores that have none."
        ),
    )
    about: str = Field("", description="What the tier is for, shown in the report.")

    @field_validator("tags")
    @classmethod
    def _tags_fit(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        for name in value or ():
            if not 1 <= len(name) <= 128 or name.lower().startswith(("aws:", "tierflow_")):
                raise ValueError(f"tag {name!r}: 1 to 128 characters, not beginning with aws: or tierflow_")
        return value


class Place(Section):
    """How files are placed."""

    fsync: bool = Field(True, description="Sync every copied file before its source may be removed.")


class MetadataField(Section):
    """One field that is known about the objects from elsewhere."""

    type: Literal["text", "integer", "number", "boolean", "date"] = Field("text", description="What it holds.")
    about: str = Field("", description="Its meaning, in words.")
    unit: str = Field("", description="Its unit, such as uM.")


class Metadata(Section):
    """What is known about the objects from elsewhere: compound, dose, cell line ..."""

    key: tuple[Literal["path", "plate", "well", "site", "channel"], ...] = Field(
        ("plate", "well"), min_length=1, description="Columns that join the table's rows with the objects."
    )
    fields: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)], MetadataField] = Field(
        default_factory=dict, description="Fields by name; in queries metadata.NAME."
    )
    table: str | None = Field(None, description="CSV or Parquet file with the key's columns and one per field.")


class Elasticsearch(Section):
    """The server that holds the catalogue of many runs, besides Parquet. Credentials: docs/elasticsearch.md."""

    url: str | None = Field(
        None, description="Address such as https://search.lab:9200; empty: TIERFLOW_ES_URL, or no server at all."
    )
    alias: str = Field(
        "tierflow-objects",
        pattern=r"^[a-z0-9][a-z0-9_.-]*-objects$",
        max_length=100,
        description="Alias of the index; must end with -objects.",
    )
    credentials_file: str | None = Field(
        None, description="YAML file with `api_key`, or `username` and `password`; readable by you alone."
    )
    ca_file: str | None = Field(None, description="Certificate (PEM) of the authority that signed the server's.")
    fingerprint: str | None = Field(
        None, pattern=r"^[0-9A-Fa-f:]{64,95}$", description="SHA-256 of the server's certificate, in place of ca_file."
    )
    allow_plain_http: bool = Field(
        False, description="Send credentials unencrypted to another machine: only in a network that is closed."
    )
    shards: int = Field(1, ge=1, le=1024, description="Primary shards of a new index; one holds some 50 GB.")
    replicas: int = Field(0, ge=0, le=10, description="Copies of each shard of a new index.")
    chunk_documents: int = Field(1000, ge=1, le=10_000, description="Documents per request, at most.")
    chunk_mb: int = Field(5, ge=1, le=90, description="Megabytes per request, at most.")
    timeout_s: float = Field(60, gt=0, description="Seconds to wait for one answer.")
    patience_s: float = Field(
        120, ge=0, description="Seconds a step goes on trying while the server is away or overloaded."
    )
    thumbnail_url: str | None = Field(
        None, description="Address of `tierflow serve`, for thumbnails in Kibana, such as http://files.lab:8600."
    )


class Catalogue(Section):
    """What the searchable record keeps, and where."""

    histogram: bool = Field(False, description="Keep the 256-bin histogram of each object's deciding plane.")
    run: str | None = Field(
        None,
        pattern=r"^[^\s\"*:()<>]+$",
        max_length=200,
        description="Name of this run in every record; empty: made from the output folder's name.",
    )
    parameter_set: str | None = Field(
        None, description="Saved parameter set that `score` came from; set by `tierflow run --params NAME`."
    )
    elasticsearch: Elasticsearch = Field(default_factory=Elasticsearch)


class Report(Section):
    """What the report shows."""

    title: str | None = Field(None, description="Title; empty: the data set's name.")
    thumbnails: int = Field(12, ge=0, le=200, description="Images shown per group (best, worst, quarantined).")
    thumbnail_px: int = Field(240, ge=32, le=1024, description="Longest edge of a thumbnail, in pixels.")


class Run(Section):
    """When a run counts as failed."""

    max_failed_share: Share = Field(
        0.5, description="Above this share of failed objects nothing is placed and the run ends with exit code 76."
    )


def _default_tiers() -> dict[str, Tier]:
    return {
        "A": Tier(about="most interesting"),
        "B": Tier(about="interesting"),
        "C": Tier(about="less interesting"),
        "D": Tier(about="least interesting"),
    }


class Config(Section):
    """Everything that a run depends on."""

    input: str | None = Field(None, description="Folder of images; usually given on the command line.")
    dataset: str | None = Field(
        None, description="Name of the data set, part of every object's id; empty: name of the input folder."
    )
    scan: Scan = Field(default_factory=Scan)
    extract: Extract = Field(default_factory=Extract)
    baseline: Baseline = Field(default_factory=Baseline)
    score: Score = Field(default_factory=Score)
    policy: PolicyConfig = Field(default_factory=PolicyConfig)
    tiers: dict[TierName, Tier] = Field(
        default_factory=_default_tiers, min_length=1, description="Tiers by name, the best first."
    )
    quarantine: Tier = Field(
        default_factory=lambda: Tier(about="could not be read, measured or scored"),
        description="The tier of everything that couldn't be read, measured or scored.",
    )
    place: Place = Field(default_factory=Place)
    metadata: Metadata = Field(default_factory=Metadata)
    catalogue: Catalogue = Field(default_factory=Catalogue)
    report: Report = Field(default_factory=Report)
    run: Run = Field(default_factory=Run)
    stream: Stream = Field(default_factory=Stream)

    @model_validator(mode="after")
    def _known_tiers(self) -> Config:
        if QUARANTINE in self.tiers:
            raise ValueError(f"`tiers` can't name {QUARANTINE!r}: it has its own section `quarantine`")
        for flag, tier in self.policy.flag_tiers.items():
            if tier not in {*self.tiers, QUARANTINE}:
                raise ValueError(f"policy.flag_tiers.{flag}: no tier {tier!r}; tiers are {', '.join(self.tiers)}")
        return self

    def tier(self, name: str) -> Tier:
        """Return the tier of that name, the quarantine included."""
        return self.quarantine if name == QUARANTINE else self.tiers[name]

    @property
    def dataset_name(self) -> str:
        """Name of the data set: as configured, else the last part of the input path."""
        return self.dataset or (self.input or "").rstrip("/").rpartition("/")[2] or "dataset"

    def digest(self, sections: Iterable[str] | None = None) -> str:
        """Return 12 hex digits over sections such as `score` or `catalogue.run` (all of them without an argument)."""
        tree = self.model_dump(mode="json")
        kept = tree if sections is None else {name: reduce(getitem, name.split("."), tree) for name in sections}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]
