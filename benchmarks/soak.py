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
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tifffile
import yaml
from watching import TIERFLOW, memory_mb

from tierflow import open as open_results
from tierflow.errors import TierflowError
from tierflow.stream.ledger import Ledger
from tierflow.stream.status import status_of

SETTINGS = {
    "dataset": "soak",
    "stream": {"rescan_s": 10.0, "retry": {"backoff_most_s": 10.0, "hang_s": 30.0}, "batches": {"workers": 2}},
    # Even shares for all tiers.
    "score": {"function": "random"},
}
MOVING = "C"
FOLDER_FILES = 500
LEAST_AGE_S = 15.0
SMALL_DISK_MB = 400


def image_bytes(value: int, *, side: int) -> bytes:
    """Return a TIFF of noise; its pixels are the last that is written."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.random.default_rng(value).integers(0, 65535, (side, side), dtype=np.uint16))
    return stream.getvalue()


class Instrument(threading.Thread):
    """Writes files at a rate, in various manners; several may grow at a time.

    Attributes:
        written: SHA-256 of the last version of each file that is whole, by path relative to the folder.
        manners: How many were written in each manner.
    """

    def __init__(self, share: Path, output: Path, *, rate: float, side: int, seed: int) -> None:
        super().__init__(name="instrument")
        self.share, self.output, self.rate, self.side = share, output, rate, side
        self.written: dict[str, str] = {}
        self.manners: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._at: dict[str, float] = {}
        self._growing: list[threading.Thread] = []
        self.ending = threading.Event()

    def run(self) -> None:
        """Write until told to end, and finish what grows."""
        number = 0
        while not self.ending.wait(self._random.expovariate(self.rate)):
            data = image_bytes(number, side=self.side)
            manner = self._random.choices(
                ["renamed", "at once", "appended", "cut", "replaced"], weights=[50, 20, 15, 5, 10]
            )[0]
            name = self._old() if manner == "replaced" else None
            if name is None:
                manner = "renamed" if manner == "replaced" else manner
                row, column = number // 12 % 8, number % 12
                name = f"plate{number // FOLDER_FILES:03d}/p_{'ABCDEFGH'[row]}{column + 1:02d}_s{number}_w1.tif"
            self.manners[manner] += 1
            pause_s = {"appended": self._random.uniform(0.5, 8), "cut": self._random.uniform(3, 15)}.get(manner)
            if pause_s is None:
                self._whole(name, data, renamed=manner != "at once")
            else:
                pieces = 2 if manner == "cut" else 10
                thread = threading.Thread(target=self._grow, args=(name, data, pieces, pause_s))
                thread.start()
                self._growing = [*(one for one in self._growing if one.is_alive()), thread]
            number += 1
        for thread in self._growing:
            thread.join()

    def _old(self) -> str | None:
        """Return a file that was handled some time ago and still is where it was written."""
        with suppress(TierflowError, OSError), closing(Ledger(self.output, read_only=True)) as ledger:
            rows = ledger.query("SELECT path FROM objects WHERE state = 'done' AND tier != ? LIMIT 2000", (MOVING,))
            old = [
                name
                for (path,) in rows
                if (name := os.fsdecode(path)) in self._at and time.monotonic() - self._at[name] > LEAST_AGE_S
            ]
            return self._random.choice(old) if old else None
        return None

    def _whole(self, name: str, data: bytes, *, renamed: bool) -> None:
        path = self.share / name
        path.parent.mkdir(exist_ok=True)
        target = path.with_name(f".{path.name}.part") if renamed else path
        target.write_bytes(data)
        if renamed:
            target.rename(path)
        self._note(name, data)

    def _grow(self, name: str, data: bytes, pieces: int, seconds: float) -> None:
        path = self.share / name
        path.parent.mkdir(exist_ok=True)
        for piece in range(pieces):
            with path.open("ab") as stream:
                stream.write(data[len(data) * piece // pieces : len(data) * (piece + 1) // pieces])
            if piece < pieces - 1:
                time.sleep(seconds / (pieces - 1))
        self._note(name, data)

    def _note(self, name: str, data: bytes) -> None:
        self.written[name] = hashlib.sha256(data).hexdigest()
        self._at[name] = time.monotonic()


class Watcher:
    """`tierflow watch` as a service manager runs it: begun again when it ends.

    Attributes:
        ends: How often it ended by itself, by exit code.
    """

    def __init__(self, base: Path) -> None:
        self.base, self.output = base, base / "out"
        self.config = base / "soak.yaml"
        self.log = base / "watch.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.ends: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper")

    def command(self) -> list[str]:
        """Return the command line."""
        return [*TIERFLOW, "watch", str(self.base / "in"), "--output", str(self.output), "--config", str(self.config)]

    def start(self) -> None:
        """Begin, and keep it running."""
        self._begin()
        self._keeper.start()

    def _begin(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _keep(self) -> None:
        while not self._ending.wait(1):
            with self._lock:
                if self.process is not None and self.process.poll() is not None:
                    self.ends[self.process.returncode] += 1
                    self._begin()

    def workers(self) -> list[int]:
        """Return the numbers of its children."""
        with suppress(psutil.NoSuchProcess):
            if self.process is not None:
                return [child.pid for child in psutil.Process(self.process.pid).children(recursive=True)]
        return []

    def signal(self, number: int, *, watcher: bool, workers: bool) -> None:
        """Send a signal."""
        with self._lock:
            pids = self.workers() if workers else []
            if watcher and self.process is not None and self.process.poll() is None:
                pids.append(self.process.pid)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            if watcher and number == signal.SIGKILL and self.process is not None:
                self.process.wait()
                self._begin()

    def memory(self) -> tuple[float, float]:
        """Return MB of the watcher and of its workers; 0 while it isn't there."""
        with suppress(psutil.Error):
            if self.process is not None:
                return memory_mb(self.process)
        return 0.0, 0.0

    def finish(self, *, seconds: float) -> int:
        """Have everything handled that is there; returns the exit code, -1 if that took too long."""
        self._ending.set()
        self._keeper.join()
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(120)
        with self.log.open("ab") as log:
            try:
                return subprocess.run([*self.command(), "--once"], stdout=log, stderr=log, timeout=seconds).returncode
            except subprocess.TimeoutExpired:
                return -1

    def kill(self) -> None:
        """End it at once, at the end of everything."""
        self._ending.set()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()


class Disks:
    """What is mounted for the soak: the input, bound from where the instrument writes, and two small disks.

    Attributes:
        allowed: Whether this user may mount.
    """

    def __init__(self, base: Path) -> None:
        self.share, self.input = base / "share", base / "in"
        self.small = [base / "out", base / "tier"]
        for folder in (self.share, self.input, *self.small):
            folder.mkdir(parents=True, exist_ok=True)
        self.allowed = self.mount_share()
        if self.allowed:
            for folder in self.small:
                options = ("-t", "tmpfs", "-o", f"size={SMALL_DISK_MB}m", "none", str(folder))
                subprocess.run(["mount", *options], check=True)
        else:
            self.input.rmdir()
            self.input.symlink_to(self.share)

    def mount_share(self) -> bool:
        """Mount the share; returns whether that worked."""
        with suppress(FileNotFoundError):
            command = ["mount", "--bind", str(self.share), str(self.input)]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        return False

    def unmount_share(self) -> None:
        """Take the share away, whoever uses it."""
        subprocess.run(["umount", "--lazy", str(self.input)], check=False, capture_output=True)

    def fill(self, folder: Path) -> Path:
        """Fill a disk to the last page; returns what to delete."""
        ballast = folder / "ballast.bin"
        with suppress(OSError), ballast.open("wb", buffering=0) as stream:
            for size in (1 << 20, 1 << 12):
                with suppress(OSError):
                    while stream.write(b"\0" * size):
                        pass
        return ballast

    def end(self) -> None:
        """Unmount everything."""
        if self.allowed:
            for folder in (self.input, *self.small):
                subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


class Faults:
    """Does harm at random.

    Attributes:
        done: How often what was done.
    """

    def __init__(self, watcher: Watcher, disks: Disks, *, seed: int) -> None:
        self.watcher, self.disks = watcher, disks
        self.done: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._deck: list[str] = []

    def one(self) -> None:
        """Do one thing, for as long as it lasts."""
        if not self._deck:
            # Each comes up as often as the others, in an order nobody knows.
            self._deck = ["kill workers", "kill watcher", "kill both", "stop all", "stop workers"]
            self._deck += ["tier full", "output full", "share away"] if self.disks.allowed else []
            self._random.shuffle(self._deck)
        kind = self._deck.pop()
        self.done[kind] += 1
        if kind.startswith("kill"):
            self._kill(kind)
        elif kind.startswith("stop"):
            self._stop(watcher=kind == "stop all")
        elif kind == "share away":
            self.disks.unmount_share()
            self._meanwhile(self._random.uniform(5, 30))
            self.disks.mount_share()
        else:
            ballast = self.disks.fill(self.disks.small[kind == "tier full"])
            self._meanwhile(self._random.uniform(5, 15))
            ballast.unlink(missing_ok=True)

    def _kill(self, kind: str) -> None:
        self.watcher.signal(signal.SIGKILL, watcher=kind != "kill workers", workers=kind != "kill watcher")

    def _stop(self, *, watcher: bool) -> None:
        self.watcher.signal(signal.SIGSTOP, watcher=watcher, workers=True)
        time.sleep(self._random.uniform(1, 20))
        self.watcher.signal(signal.SIGCONT, watcher=watcher, workers=True)

    def _meanwhile(self, seconds: float) -> None:
        """Wait; misfortunes seldom come singly."""
        if self._random.random() < 0.4:
            time.sleep(seconds / 2)
            kind = self._random.choice(["kill workers", "kill watcher", "kill both"])
            self.done[kind] += 1
            self._kill(kind)
            seconds /= 2
        time.sleep(seconds)


def check(base: Path, written: dict[str, str]) -> list[tuple[str, int, int]]:
    """Count; returns (what, expected, found) each."""
    output = base / "out"
    with closing(Ledger(output, read_only=True)) as ledger:
        states = {str(state): n for state, n in ledger.counts().items()}
        rows = Counter(state for (state,) in ledger.query("SELECT state FROM objects"))
    columns = ["path", "sha256", "tier", "driver", "destination"]
    records = open_results(output).search("", columns=columns, limit=None).to_arrow().to_pylist()
    good = [record for record in records if record["sha256"] == written.get(record["path"])]
    placed = [record for record in good if is_placed(base, record)]
    verified = subprocess.run([*TIERFLOW, "verify", str(output)], capture_output=True, text=True, check=False)
    if verified.returncode:
        print(verified.stdout + verified.stderr)
    for name in sorted(written.keys() - {record["path"] for record in placed})[:20]:
        print("not in order:", name, [record for record in records if record["path"] == name])
    left = [*(output / ".tierflow/stream/batches").glob("*"), *output.rglob("*.part"), *(base / "tier").rglob("*.part")]
    return [
        ("files written: `done` in the ledger", len(written), states["done"]),
        ("in any other state", 0, sum(states.values()) - states["done"]),
        ("counters that differ from the rows", 0, sum((Counter(states) - rows).values())),
        ("records", len(written), len(records)),
        ("different objects among them", len(written), len({record["path"] for record in records})),
        ("records with the bytes written last", len(written), len(good)),
        ("files in their tier, and only there, with these bytes", len(written), len(placed)),
        ("`tierflow verify`, exit code", 0, verified.returncode),
        ("left over: folders of batches, unfinished files", 0, len(left)),
    ]


def is_placed(base: Path, record: dict[str, Any]) -> bool:
    """Tell whether the file of a record lies where it says, whole, and at its source only where the tier leaves it."""
    path = base / "out" / record["destination"]
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != record["sha256"]:
        return False
    return (base / "share" / record["path"]).exists() == (record["driver"] != "move")


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
