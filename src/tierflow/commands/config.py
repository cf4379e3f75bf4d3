"""`tierflow config`: show, check and describe the configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from tierflow import plugins
from tierflow.commands._options import ConfigFile, Settings, configured
from tierflow.config import Config
from tierflow.config_io import dump, validate

KINDS: dict[plugins.Kind, str] = {
    "interestingness": "score.function",
    "policies": "policy.kind",
    "tiers": "tiers.NAME.driver",
    "layouts": "scan.layout",
    "extractors": "extract.extractors",
}

app = App(name="config", help="Show, check or describe the configuration.", result_action="return_value")


@app.command
def show(*, config: ConfigFile = None, set: Settings = None) -> None:  # noqa: A002
    """Print the whole configuration as it would be used, every key with its value, as YAML."""
    print(dump(validate(configured({}, config=config, settings=set))), end="")  # noqa: T201


@app.command
def check(file: Annotated[Path, Parameter(help="YAML file.")], /) -> None:
    """Check a configuration file: keys, values, names of functions, policies, drivers, tiers and features."""
    from tierflow.scoring.check import check as check_parts

    found = validate(configured({}, config=file, settings=None), where=str(file))
    check_parts(found)
    print(f"{file}: fine")  # noqa: T201


@app.command
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors that complete and check YAML."""
    print(json.dumps(Config.model_json_schema(), indent=2))  # noqa: T201


@app.command
def parts() -> None:
    """List the installed functions, policies, drivers, layouts and extractors, with the parameters they take."""
    for kind, key in KINDS.items():
        print(f"{key}:")  # noqa: T201
        for name in plugins.available(kind):
            part = plugins.load(kind, name)
            about = getattr(part, "about", None) or (part.__doc__ or "").strip().splitlines()[0]
            print(f"  {name}: {about}")  # noqa: T201
            model = getattr(part, "Parameters", None)
            for parameter, info in (model.model_fields if model else {}).items():
                default = "required" if info.is_required() else f"default {info.get_default(call_default_factory=True)}"
                print(f"    {parameter} ({default}): {info.description}")  # noqa: T201
