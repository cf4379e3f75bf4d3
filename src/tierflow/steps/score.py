"""Step `score`: interestingness, flags and reasons of one shard's objects."""

from __future__ import annotations

from tierflow import config_io, tables
from tierflow.clock import utc_now
from tierflow.scoring import score as compute
from tierflow.scoring.build import make_function
from tierflow.scoring.folder import feature_names
from tierflow.scoring.planes import require_features
from tierflow.steps._ports import In, Out, Param


def run(*, shard: In, extract: In, baseline: In, duplicates: In, history: In, config: Param, table: Out) -> None:
    """Score one shard. No image is opened.

    Args:
        shard: The shard's objects, as `scan` wrote them.
        extract: Its measured planes.
        baseline: What is usual in each plate and channel.
        duplicates: Pixels that occur in more than one object.
        history: What the planes found in earlier planes, where the interestingness function looks back.
        config: Configuration file.
        table: Table to write, a row per object in the order of the shard.

    Raises:
        InputMissingError: if a table isn't there.
        TableError: if one is damaged.
        ConfigError: if the function, its parameters or a flag rule is wrong.
    """
    settings = config_io.load(config)
    function = make_function(settings)
    features = compute.needed_features(function, settings)
    require_features(features, feature_names(extract), where=f"score.function {function.name} and score.flags")
    scored = compute.score_shard(
        objects=tables.read(shard, compute.SCAN_COLUMNS),
        planes=tables.read(extract, [*compute.PLANE_COLUMNS, *features]),
        baseline=tables.read(baseline),
        duplicates=tables.read(duplicates),
        history=tables.read(history),
        function=function,
        config=settings,
    )
    stamp = {"function": function.name, "settings": settings.digest(["score", "baseline"]), "at": utc_now()}
    tables.write(table, scored, **stamp)
