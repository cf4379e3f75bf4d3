"""A stream under faults at random for a while, and then an exact count of everything that was written.

    python benchmarks/soak.py                                        # 30 minutes, 5 images/s
    python benchmarks/soak.py --minutes 3 --seed 2
    python benchmarks/soak.py --report soak.md > soak.log 2>&1 &     # in the background; SIGTERM ends it with its count

Images come at once, renamed into place, slowly, or cut and completed later; some are replaced after they were handled.
Meanwhile the watcher, its workers or both are killed (-9), or stopped for a while (SIGSTOP); the disks of a tier and of
the output are full, and the share is unmounted, where this user may mount something. What ends is begun again after a
second, as a service manager does. At the end every file must have one record, with the bytes that were written last,
and lie in one place; the exit code is 1 if not.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from soak_count import check
from soak_faults import Disks, Faults
from soak_instrument import Instrument
from soak_watcher import Watcher

from tierflow.errors import TierflowError
from tierflow.stream.status import status_of

SETTINGS = {
    "dataset": "soak",
    "stream": {"rescan_s": 10.0, "retry": {"backoff_most_s": 10.0, "hang_s": 30.0}, "batches": {"workers": 2}},
    # Even shares for all tiers.
    "score": {"function": "random"},
}


def line_of(began: float, watcher: Watcher, faults: Faults, instrument: Instrument) -> dict[str, Any]:
    """Return how it stands."""
    found: dict[str, Any] = {"minute": round((time.monotonic() - began) / 60, 1), "written": len(instrument.written)}
    with suppress(TierflowError, OSError):
        status = status_of(watcher.output)
        found["states"] = {state: n for state, n in status["states"].items() if n}
        found |= {"lag_s": round(status["lag_s"], 1), "rate_per_s": round(status["rate_per_s"] or 0, 1)}
        found["latency_s"] = (status["latency_s"] or {}).get("median")
    found["watcher_mb"], found["workers_mb"] = (round(size) for size in watcher.memory())
    found["faults"] = sum(faults.done.values())
    return found


def words(found: dict[str, Any]) -> str:
    """Return it for people."""
    return ", ".join(f"{name} {value}" for name, value in found.items())


def table(options: argparse.Namespace, lines: list[dict[str, Any]], parts: dict[str, Counter[Any]], counts: Any) -> str:
    """Return the report in Markdown."""
    columns = ["minute", "written", "done", "lag_s", "rate_per_s", "latency_s", "watcher_mb", "workers_mb", "faults"]
    text = [f"Soak of {options.minutes:g} min at {options.rate:g} images/s, seed {options.seed}\n"]
    text += [f"- {name}: " + (", ".join(f"{k} {n}" for k, n in part.items()) or "none") for name, part in parts.items()]
    text += ["", "| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for line in lines:
        flat = {**line, "done": line.get("states", {}).get("done", "")}
        text.append("| " + " | ".join(str(flat.get(name, "")) for name in columns) + " |")
    text += ["", "| at the end | expected | found |", "| --- | --- | --- |"]
    text += [f"| {what} | {expected} | {found} |" for what, expected, found in counts]
    return "\n".join(text) + "\n"


def soak(base: Path, options: argparse.Namespace, ending: threading.Event) -> int:
    """Run it in a folder; returns the exit code."""
    disks = Disks(base)
    tiers = {name: {"driver": driver} for name, driver in zip("ABCD", ("link", "copy", "move", "link"), strict=True)}
    tiers["B"]["root"] = str(base / "tier")
    (base / "soak.yaml").write_text(yaml.safe_dump(SETTINGS | {"tiers": tiers}))
    watcher = Watcher(base)
    instrument = Instrument(disks.share, watcher.output, rate=options.rate, side=options.side, seed=options.seed)
    faults = Faults(watcher, disks, seed=options.seed)
    print(f"seed {options.seed}; mounting {'is' if disks.allowed else 'is not'} permitted; in {base}", flush=True)
    lines: list[dict[str, Any]] = []
    began = time.monotonic()

    def report() -> None:
        while not ending.wait(60 - (time.monotonic() - began) % 60):
            lines.append(line_of(began, watcher, faults, instrument))
            print(words(lines[-1]), flush=True)

    reporter = threading.Thread(target=report, name="reporter")
    try:
        watcher.start()
        instrument.start()
        reporter.start()
        pauses = random.Random(options.seed + 1)
        while time.monotonic() - began < options.minutes * 60:
            if ending.wait(pauses.uniform(2, 2 * options.every - 2)):
                break
            faults.one()
        instrument.ending.set()
        instrument.join()
        ending.set()
        reporter.join()
        time.sleep(3)
        code = watcher.finish(seconds=600)
        counts = [("exit code of the last `watch --once`", 0, code), *check(base, instrument.written)]
        parts = {"faults": faults.done, "written": instrument.manners, "ends by itself, by exit code": watcher.ends}
        text = table(options, lines, parts, counts)
        print(text, flush=True)
        if options.report:
            options.report.write_text(text)
        return int(any(expected != found for _, expected, found in counts))
    finally:
        ending.set()
        instrument.ending.set()
        watcher.kill()
        if options.keep:
            (base / "written.json").write_text(json.dumps(instrument.written))
            shutil.copytree(watcher.output, base / "kept", symlinks=True, dirs_exist_ok=True)
        disks.end()


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=5, help="images per second")
    parser.add_argument("--side", type=int, default=128, help="edge of an image in pixels")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=12, help="seconds between faults, on average")
    parser.add_argument("--report", type=Path, help="file for the table in Markdown")
    parser.add_argument("--keep", action="store_true", help="keep the folder, with a copy of the output in `kept`")
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="tierflow-soak-"))
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    try:
        return soak(base, options, ending)
    finally:
        if not options.keep:
            shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
