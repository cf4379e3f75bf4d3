"""The image, in pods as strict as tierflow's own: it runs the example, ends when told to, and holds what it should."""

from __future__ import annotations

import json
import shutil
import time

import pytest
from pods import ROOT, pod, writable

MB = 1e6
LARGEST_MB = 600
LOOK = r"""
import json, os, pathlib, stat, sys
from importlib.metadata import distributions
writable, foreign = [], []
for folder, folders, files in os.walk("/", topdown=True):
    if folder == "/":
        # What the kernel and the pod mount there is no part of the image.
        folders[:] = [name for name in folders if name not in ("proc", "sys", "dev", "tmp")]
    for name in [*folders, *files]:
        path = os.path.join(folder, name)
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            continue
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            writable.append(path)
        if found.st_mode & (stat.S_ISUID | stat.S_ISGID) and path.startswith("/opt"):
            foreign.append(path)
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
levels = pathlib.Path(sys.prefix, "share/tierflow/kernels")
try:
    open("/opt/written", "w")
    root = "writable"
except OSError as error:
    root = error.strerror
print(json.dumps({
    "writable": writable, "special": foreign, "user": [os.getuid(), os.getgid()], "root": root,
    "capabilities": status["CapEff"], "token": os.path.exists("/var/run/secrets/kubernetes.io"),
    "packages": sorted(d.name.lower() for d in distributions()),
    "levels": sorted(path.name for path in levels.iterdir()),
}))
"""
# Measures all kinds of pixels, and tells how many files of machine code were there before and after.
COMPILE = """
import os, pathlib
from tierflow.features import ahead, compiled
folder = pathlib.Path(os.environ["NUMBA_CACHE_DIR"])
before = len(list(folder.rglob("*.nbc")))
ahead.measure_all_kinds()
new = [path.name for path in folder.rglob("*.nb?") if not path.is_symlink()]
print(before, new)
"""


@pytest.fixture(scope="module")
def look(tierflow_image, module_kubectl) -> dict:
    """What a pod sees of itself."""
    code, log = module_kubectl.run_pod("look", pod(["python", "-c", LOOK]))
    assert code == 0, log
    return json.loads(log)


def test_it_is_small(tierflow_image, module_kubectl):
    """As registries keep it and nodes fetch it, compressed; no builder is needed to know."""
    files = (
        "tar --create --one-file-system --exclude=./tmp --exclude=./proc --exclude=./sys --directory=/ . 2>/dev/null"
    )
    code, log = module_kubectl.run_pod("size", pod(["sh", "-c", f"({files} || true) | gzip -1 | wc -c"]))
    assert code == 0, log
    assert 100 * MB < int(log) < LARGEST_MB * MB


def test_it_runs_without_rights(look):
    assert look["user"] == [1000, 1000]
    assert look["root"] == "Read-only file system"
    assert int(look["capabilities"], 16) == 0
    assert not look["token"]


def test_nothing_in_it_is_writable_by_all(look):
    assert look["writable"] == []
    assert look["special"] == []


def test_it_holds_no_tools_of_tests_or_installers(look):
    assert {"tierflow", "snakemake", "numba"} <= set(look["packages"])
    assert not {"pytest", "hypothesis", "scipy", "mypy", "ruff", "hatchling", "pip"} & set(look["packages"])


def test_no_pod_compiles_what_the_image_brings(look, module_kubectl):
    assert look["levels"]
    code, log = module_kubectl.run_pod("compile", pod(["python", "-c", COMPILE]))
    assert code == 0, log
    before, new = log.strip().split(" ", 1)
    assert int(before) > 20
    assert new == "[]"


def test_the_example_runs(tierflow_image, module_kubectl, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(ROOT / "examples" / "plate", images)
    shutil.copy(ROOT / "examples" / "plate.yaml", images.with_suffix(".yaml"))
    results = writable(tmp_path / "results")
    volumes = {"/images": images, "/results": results, "/etc/tierflow": writable(tmp_path / "config")}
    shutil.copy(ROOT / "examples" / "plate.yaml", tmp_path / "config" / "config.yaml")
    command = ["tierflow", "run", "/images", "--config", "/etc/tierflow/config.yaml", "--output", "/results/plate"]
    code, log = module_kubectl.run_pod("example", pod(command, volumes=volumes), timeout_s=300)
    assert code == 0, log
    assert (results / "plate" / "report.html").stat().st_size > 10_000
    rows = (results / "plate" / "objects.csv").read_text().splitlines()
    assert len(rows) == 1 + len([path for path in images.rglob("*") if path.is_file()])


def test_sigterm_ends_it_at_once(tierflow_image, module_kubectl, tmp_path):
    results = writable(tmp_path / "results")
    spec = pod(["tierflow", "serve", "/results", "--host", "0.0.0.0", "--port", "8600"], volumes={"/results": results})
    # Kubernetes itself would kill it after this, with exit code 137.
    spec["terminationGracePeriodSeconds"] = 100
    module_kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "serve"}, "spec": spec})
    module_kubectl("wait", "--for=condition=Ready", "pod/serve", "--timeout=60s")
    for _ in range(200):
        if "8600" in module_kubectl("logs", "serve"):
            break
        time.sleep(0.2)
    else:
        pytest.fail(f"it doesn't serve: {module_kubectl('logs', 'serve')}")
    module_kubectl("delete", "pod", "serve", "--timeout=50s", timeout=60)
