"""A run of the example plate that was begun, and what such runs have in common."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

PLATE = Path(__file__).resolve().parents[2] / "examples" / "plate"
SETTINGS = ("scan.shard_objects=7", "catalogue.run=same", "tiers.A.driver=copy")
# Asked for seldom on a real cluster, where hundreds of people share one controller.
IMPATIENT = {
    "slurm": {"slurm-init-seconds-before-status-checks": 2, "seconds-between-status-checks": 2, "latency-wait": 10},
    "cluster-generic": {"seconds-between-status-checks": 2, "latency-wait": 10},
}


@dataclass
class Running:
    """A run that was begun."""

    process: subprocess.Popen[str]
    output: Path

    def log(self) -> str:
        """What Snakemake said so far."""
        path = self.output / "logs" / "snakemake.log"
        return path.read_text() if path.exists() else ""

    def wait_for(self, text: str) -> str:
        """Return the first line of Snakemake's log that holds a text, as soon as there is one."""
        while True:
            ended = self.process.poll() is not None
            for line in self.log().splitlines(keepends=True):
                if text in line and line.endswith("\n"):
                    return line
            assert not ended, f"the run ended without {text!r}:\n{self.log()}"
            time.sleep(0.05)

    def end(self) -> str:
        """Wait for the end, which must be a good one, and return what was printed."""
        printed, problems = self.process.communicate()
        assert self.process.returncode == 0, problems + self.log()
        return printed + problems
