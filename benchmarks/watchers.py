"""Which watcher sees every file of a burst that comes while its process is stopped: watchdog, watchfiles, tierflow.

Each watches a folder of its own in a process of its own. The process stops (SIGSTOP), the files are made, and it goes
on (SIGCONT); counted is which of them it has seen when nothing new has come for five seconds. A library that names a
new folder, and not the files in it, hasn't told of the files.

python benchmarks/watchers.py                  # 20,000 files
python benchmarks/watchers.py --files 50000
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

QUIET_S = 5.0
NAMES = ("watchdog", "watchfiles", "tierflow")
PATTERNS = ("one folder", "nested new folders", "renames into place")


class Seen:
    """Names that a watcher has told of, and when the last new one came."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.last = time.monotonic()

    def add(self, path: str) -> None:
        """Count a path that is told as a file, once."""
        if path.endswith(".tif") and path not in self.names:
            self.names.add(path)
            self.last = time.monotonic()


def with_watchdog(root: Path, seen: Seen, ready: threading.Event) -> None:
    """Watch by the library's usual observer, recursively."""
    from watchdog.events import FileSystemEventHandler
    from watchdog.observers import Observer

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event):
            for path in (event.src_path, event.dest_path):
                if path and not event.is_directory:
                    seen.add(os.fsdecode(path))

    observer = Observer()
    observer.schedule(Handler(), str(root), recursive=True)
    observer.start()
    ready.set()


def with_watchfiles(root: Path, seen: Seen, ready: threading.Event) -> None:
    """Watch by the library's generator."""
    from watchfiles import watch

    def follow() -> None:
        for changes in watch(root, rust_timeout=500, yield_on_timeout=True):
            ready.set()
            for _, path in changes:
                seen.add(path)

    threading.Thread(target=follow, daemon=True).start()


def with_tierflow(root: Path, seen: Seen, ready: threading.Event) -> None:
    """Watch by tierflow; what its ledger holds counts."""
    from tierflow import config_io
    from tierflow.stream.ledger import Ledger
    from tierflow.stream.watcher import Watcher

    output = root.parent / f"{root.name}-output"
    ledger, wake = Ledger(output), threading.Event()
    watcher = Watcher(ledger, config_io.validate({"input": str(root)}), root, output, wake)
    watcher.start()

    def follow() -> None:
        last = 0
        while True:
            time.sleep(0.1)
            for number, path in ledger.query("SELECT id, path FROM objects WHERE id > ? ORDER BY id", (last,)):
                last = number
                seen.add(os.fsdecode(path))
            if watcher.health()["looks"]:
                ready.set()

    threading.Thread(target=follow, daemon=True).start()


def follow(name: str, root: Path) -> None:
    """Be the watching process: stop, go on when told, print what was seen."""
    seen, ready = Seen(), threading.Event()
    {"watchdog": with_watchdog, "watchfiles": with_watchfiles, "tierflow": with_tierflow}[name](root, seen, ready)
    ready.wait()
    time.sleep(1)
    print("ready", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    began = seen.last = time.monotonic()
    began_cpu = time.process_time()
    while time.monotonic() - seen.last < QUIET_S:
        time.sleep(0.05)
    seconds = max(0.0, seen.last - began)
    print(json.dumps({"seen": len(seen.names), "seconds": seconds, "cpu": time.process_time() - began_cpu}), flush=True)
    os._exit(0)


def make(root: Path, files: int, pattern: str) -> None:
    """Make the burst."""
    for number in range(files):
        name = f"{number:06}.tif"
        if pattern == "one folder":
            (root / name).write_bytes(b"image")
        elif pattern == "nested new folders":
            place = root / f"plate{number % 10}" / f"day{number % 40}" / f"{number % 400}"
            place.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(b"image")
        else:
            part = root / f".{name}.part"
            part.write_bytes(b"image")
            part.rename(root / name)


def burst(name: str, pattern: str, files: int, scratch: Path) -> dict[str, float]:
    """Run one watcher through one burst."""
    root = scratch / f"{name}-{PATTERNS.index(pattern)}"
    root.mkdir()
    command = [sys.executable, __file__, "--follow", name, "--root", str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.01)
        make(root, files, pattern)
        child.send_signal(signal.SIGCONT)
        return json.loads(child.stdout.readline())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--follow", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.follow:
        follow(options.follow, options.root)
    limit = Path("/proc/sys/fs/inotify/max_queued_events").read_text().strip()
    print(f"{options.files:,} files while the process is stopped; the kernel keeps {limit} events\n")
    print("| watcher | burst | seen | lost | s until the last one | CPU s |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for pattern in PATTERNS:
            for name in NAMES:
                if importlib.util.find_spec(name) is None:
                    print(f"| {name} | {pattern} | not installed | | | |")
                    continue
                told = burst(name, pattern, options.files, Path(scratch))
                version = importlib.metadata.version(name)
                print(
                    f"| {name} {version} | {pattern} | {told['seen']:,.0f} | {options.files - told['seen']:,.0f} | "
                    f"{told['seconds']:.1f} | {told['cpu']:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
