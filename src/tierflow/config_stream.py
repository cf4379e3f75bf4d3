"""The sections of the configuration that only streams read."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from tierflow.config_section import Section


class Rank(Section):
    """Files that get a tag, and whose turn comes earlier or later."""

    match: str = Field(description="Glob pattern on the path relative to the input, such as `urgent/**`.")
    tag: str | None = Field(None, description="Tag that the objects get, for priorities, hooks and the live view.")
    priority: int = Field(0, ge=-100, le=100, description="Greater comes first; 0 is usual.")


class Complete(Section):
    """When a file counts as completely written."""

    trust_close: bool = Field(
        True,
        description="On a local file system, a file that was closed by its writer or renamed into place is complete.",
    )
    quiet_s: float = Field(
        2.0, ge=0, description="Without such a sign: seconds in which size and time of change must stay the same."
    )
    min_age_s: float = Field(0.0, ge=0, description="Seconds since the last change that every file must have.")
    sentinel: str | None = Field(
        None,
        description=(
            "A file that says that others are complete: a name in the same folder such as `done.txt`, or with {name} "
            "or {stem} one per file, such as `{name}.done`; empty: none is waited for."
        ),
    )
    companions: bool = Field(
        True,
        description=(
            "Wait for the files that a format writes last or lists its images in, where they are there or expected: "
            "MetaXpress .HTD, OME companion, Opera Index.idx.xml, MetaMorph .nd."
        ),
    )
    read_to_end: bool = Field(
        True, description="Before a TIFF is taken, check that its last strip lies inside the file: a cheap look."
    )
    give_up_s: float = Field(
        3600.0,
        gt=0,
        description="A file that doesn't become complete in this time is taken as it is; the record says why.",
    )


class Series(Section):
    """When a site, well, plate or time point counts as complete; `scan.unit` says what decides together."""

    expect: Literal["none", "site", "well", "plate", "timepoint"] = Field(
        "none",
        description="Release files only when all members of their site, well, plate or time point are there.",
    )
    members: int | None = Field(
        None, ge=1, description="Number of files that make one complete; empty: from channels, sites, z and metadata."
    )
    channels: tuple[str, ...] = Field((), description="Channels that each site must have; empty: those seen so far.")
    sites: int | None = Field(None, ge=1, description="Sites that each well must have.")
    z_planes: int | None = Field(None, ge=1, description="z planes that each channel of a site must have.")
    wells: int | None = Field(None, ge=1, description="Wells that each plate must have.")
    timeout_s: float = Field(
        1800.0, gt=0, description="Release an incomplete one, flagged `incomplete`, when nothing new came for so long."
    )


class Batches(Section):
    """How units are cut into micro-batches."""

    max_objects: int = Field(200, ge=1, le=10_000, description="Objects in one micro-batch, at most.")
    gather_s: float = Field(
        0.05, ge=0, le=60, description="Seconds that the first unit waits for others; grows by itself in a burst."
    )
    shard_objects: int = Field(
        500, ge=1, le=100_000, description="Objects in one shard of the tables; micro-batches are gathered into it."
    )
    workers: int | None = Field(
        None, ge=1, description="Processes that measure; empty: one per core. Outside: batches offered at a time."
    )
    where: Literal["here", "outside"] = Field(
        "here",
        description="Where is measured: in processes of the watching one, or by whoever runs `tierflow work OUTPUT`.",
    )


class Retry(Section):
    """What happens when an attempt fails for a reason that isn't the object's."""

    attempts: int = Field(5, ge=1, le=100, description="Attempts after which an object becomes a dead letter.")
    backoff_s: float = Field(1.0, gt=0, description="Pause after the first failure; doubles with each.")
    backoff_most_s: float = Field(300.0, gt=0, description="Longest pause.")
    hang_s: float = Field(120.0, gt=0, description="A worker that is silent for so long is ended, its batch halved.")


class Hook(Section):
    """Something to tell, or to start, when objects reach a state."""

    on: tuple[Literal["done", "quarantined", "failed", "lost_source", "incomplete", "drained"], ...] = Field(
        ("done",), min_length=1, description="States that are told."
    )
    url: str | None = Field(None, description="Address that gets a POST with JSON.")
    command: tuple[str, ...] = Field((), description="Program and arguments; the same JSON comes on standard input.")
    secret_env: str | None = Field(
        None,
        pattern=r"^[A-Z_][A-Z0-9_]*$",
        description="Environment variable with the key that signs requests (HMAC-SHA256, header X-Tierflow-Signature).",
    )
    timeout_s: float = Field(10.0, gt=0, description="Seconds to wait for an answer or for the command's end.")
    where: str | None = Field(None, description="Only objects whose path matches this glob pattern.")


class Stream(Section):
    """How a folder is watched, for `tierflow watch`."""

    hints: Literal["auto", "events", "polling"] = Field(
        "auto",
        description="How news is noticed between looks at all files; auto: events where the file system has them.",
    )
    poll_s: float = Field(1.0, gt=0, description="Seconds between looks at folders that changed, without events.")
    rescan_s: float = Field(
        30.0, gt=0, description="Seconds between looks at all files: these are what nothing escapes; longer if slow."
    )
    complete: Complete = Field(default_factory=Complete)
    series: Series = Field(default_factory=Series)
    batches: Batches = Field(default_factory=Batches)
    retry: Retry = Field(default_factory=Retry)
    window_planes: int = Field(
        1000, ge=2, description="Planes per plate and channel, the latest ones, that a running baseline looks back on."
    )
    ranks: tuple[Rank, ...] = Field((), description="Tags and priorities; the first pattern that matches holds.")
    hooks: tuple[Hook, ...] = Field((), description="Who is told of what.")

    @field_validator("hooks")
    @classmethod
    def _url_or_command(cls, value: tuple[Hook, ...]) -> tuple[Hook, ...]:
        for hook in value:
            if bool(hook.url) == bool(hook.command):
                raise ValueError("a hook needs either `url` or `command`")
            if hook.url and not re.match(r"https?://", hook.url):
                raise ValueError(f"url is {hook.url!r}: expected http:// or https://")
        return value
