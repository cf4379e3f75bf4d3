"""One run of the example plate that several tests look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from integration_cli import ROOT, tierflow


@dataclass(frozen=True)
class ExampleRun:
    """The finished run of the example plate. Tests must not change it."""

    input: Path
    output: Path
    config: Path
    printed: str


@pytest.fixture(scope="session")
def example(tmp_path_factory) -> ExampleRun:
    output = tmp_path_factory.mktemp("example") / "results of the example"
    config = ROOT / "examples" / "plate.yaml"
    done = tierflow("run", ROOT / "examples" / "plate", "--config", config, "--output", output, "--cores", 2)
    assert done.returncode == 0, done.stderr
    return ExampleRun(ROOT / "examples" / "plate", output, config, done.stdout)
