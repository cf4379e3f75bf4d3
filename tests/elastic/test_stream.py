"""A watched folder whose server is away for a while: nothing waits for it, and afterwards it has every record once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import tifffile
import yaml
from cut_proxy import cut_proxy

from tierflow.stream.ledger import Ledger
from tierflow.stream.states import State
from tierflow.stream.status import status_of

pytestmark = pytest.mark.slow

AWAY_S = 60.0
"""Many attempts with growing pauses."""


def write(root: Path, number: int) -> None:
    """Write an image under a hidden name, and rename it."""
    pixels = np.random.default_rng(number).integers(0, 250, (64, 64)).astype(np.uint8)
    hidden = root / f".{number}.part"
    tifffile.imwrite(hidden, pixels)
    hidden.rename(root / f"p_A01_s{number}_w1.tif")


def wait(process: subprocess.Popen[bytes], condition, *, seconds: float = 120) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except FileNotFoundError:
            pass
        assert process.poll() is None, "it ended"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def test_a_server_that_is_away_gets_every_record_when_it_is_back(tmp_path, elastic, client, server_url):
    root, output, config = tmp_path / "in", tmp_path / "out", tmp_path / "watch.yaml"
    root.mkdir()
    address = urlsplit(server_url)
    with cut_proxy(str(address.hostname), int(address.port or 9200)) as proxy:
        settings = {"url": proxy.url, "alias": elastic.alias}
        config.write_text(yaml.safe_dump({"dataset": "watched", "catalogue": {"elasticsearch": settings}}))
        command = [
            sys.executable,
            "-m",
            "tierflow",
            "watch",
            str(root),
            "--output",
            str(output),
            "--config",
            str(config),
        ]
        with (tmp_path / "watch.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:

            def done() -> int:
                ledger = Ledger(output, read_only=True)
                try:
                    return ledger.counts()[State.DONE]
                finally:
                    ledger.close()

            def publishing() -> tuple[str, int]:
                fact = status_of(output)["publish"]
                return fact["state"], fact["behind"]

            for number in range(5):
                write(root, number)
            wait(process, lambda: done() == 5 and publishing() == ("ok", 0))
            proxy.cut()
            end = time.monotonic() + AWAY_S
            for number in range(5, 35):
                write(root, number)
                time.sleep(max(0.0, AWAY_S / 30))
            wait(process, lambda: publishing()[0] == "away")
            # Handling goes on meanwhile.
            wait(process, lambda: done() == 35)
            assert publishing()[1] > 0
            time.sleep(max(0.0, end - time.monotonic()))
            proxy.mend()
            write(root, 35)
            wait(process, lambda: done() == 36 and publishing() == ("ok", 0))
            process.terminate()
            assert process.wait(60) == 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        checked = subprocess.run(
            [sys.executable, "-m", "tierflow", "elastic", "check", str(output)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
    client.indices.refresh(index=elastic.alias)
    assert client.count(index=elastic.alias)["count"] == 36
