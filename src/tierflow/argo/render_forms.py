"""Parameters of the workflow templates: what a person reads and fills in when a run is submitted."""

from __future__ import annotations

from typing import Any

from tierflow import __version__

IMAGE = f"tierflow:{__version__}"

MEMORY = "memory-times"

Tree = dict[str, Any]

_INPUT = {
    "name": "input",
    "description": "Folder of images as the pods see it, such as /images/plate1.",
}
_OUTPUT = {
    "name": "output",
    "description": (
        "Folder for the results. Empty: /results/NAME-tierflow, where NAME is the last part of input. "
        "A second run for the same output goes on where the first stopped, and redoes only what changed."
    ),
    "value": "",
}
_EXISTING = {
    "name": "output",
    "description": "Output folder of the run to score again, such as /results/plate1-tierflow.",
}
_CONFIG = {
    "name": "config",
    "description": (
        "Keys that differ from the configuration of this installation (ConfigMap tierflow-config), as YAML, such as "
        "`score: {function: haste}`. Empty: none. A wrong key ends the run at once with exit code 78."
    ),
    "value": "",
}
_CHANGES = _CONFIG | {
    "description": (
        "Keys that differ from the configuration of the existing run, as YAML, such as `score: {function: haste}`. "
        "Only keys that need no new measurement."
    ),
}
_APPROVE = {
    "name": "approve-above",
    "description": (
        "Before files are placed, wait for a person's YES or NO where a larger share (0 to 1) of the objects would go "
        "to quarantine or trash. 1: never ask; -1: always ask."
    ),
    "value": "1",
}
_EXTRACT_JOBS = ("extract-shards-per-job", "1", "Shards that one pod measures. Raise it when pods end in a minute.")
# Most shards of a micro-batch are known already: a pod looks through them in a second.
_STREAM_JOBS = ("extract-shards-per-job", "10", "Shards, new and known, that one pod looks through and measures.")
_JOBS = (
    ("score-shards-per-job", "50", "Shards that one pod scores."),
    ("place-shards-per-job", "5", "Shards that one pod places, indexes or publishes."),
    ("most-jobs", "500", "No step gets more pods than this, whatever the shards; so no more run at a time, either."),
)
_PATIENCE = (
    (
        "retries",
        "5",
        "How often a job is tried again that failed for a reason that may pass: storage or server away, disk full, "
        "node gone, out of memory. Wrong configuration or input is never tried again.",
    ),
    ("retry-wait", "15s", "Wait before the first of these tries; doubled for each further one."),
    (
        MEMORY,
        "1",
        "Memory of every pod, as a whole multiple of the step table's. Raise it for images above 200 MB a plane.",
    ),
)
_IMAGE = {
    "name": "image",
    "description": "Container image of tierflow. Results of different versions in one output are redone as needed.",
    "value": IMAGE,
}


def _plain(rows: tuple[tuple[str, str, str], ...]) -> list[Tree]:
    return [{"name": name, "description": about, "value": value} for name, value, about in rows]


def batch_form() -> list[Tree]:
    """Return the parameters of a run of a folder."""
    return [_INPUT, _OUTPUT, _CONFIG, *_plain((_EXTRACT_JOBS, *_JOBS)), _APPROVE, *_plain(_PATIENCE), _IMAGE]


def stream_form() -> list[Tree]:
    """Return the parameters of a micro-batch."""
    config = _CONFIG | {
        "description": _CONFIG["description"] + " An output that holds a run keeps its own configuration otherwise."
    }
    return [_INPUT, _OUTPUT, config, *_plain((_STREAM_JOBS, *_JOBS)), _APPROVE, *_plain(_PATIENCE), _IMAGE]


def rescore_form() -> list[Tree]:
    """Return the parameters of scoring an existing run again."""
    return [_EXISTING, _CHANGES, *_plain(_JOBS), _APPROVE, *_plain(_PATIENCE), _IMAGE]
