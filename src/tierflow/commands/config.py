"""`tierflow config`: show, check and describe the configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from tierflow.commands._options import ConfigFile, Settings, configured
from tierflow.config import Config
from tierflow.config_io import dump, validate

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
