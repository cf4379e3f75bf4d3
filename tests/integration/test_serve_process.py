"""`tierflow serve` as a user starts it, over the example's real results."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import numpy as np
from integration_cli import tierflow
from PIL import Image

from tierflow.catalogue.parquet import ParquetCatalogue
from tierflow.catalogue.query import Eq, Exists, Query, Sort


@contextmanager
def serving(*arguments):
    process = subprocess.Popen(
        [sys.executable, "-m", "tierflow", "serve", *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=os.environ,
    )
    try:
        told = []
        for line in process.stderr:
            told.append(line)
            if found := re.search(r"serving (http://\S+)/ ", line):
                yield found[1], process, told
                break
        else:
            raise AssertionError(f"it didn't start: {told}")
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stderr.close()


def get(address):
    """Return status, headers and content; an error status is an answer too."""
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_the_example_is_served(example):
    catalogue = ParquetCatalogue(example.output)
    with serving(example.output, "--port", "0") as (address, process, _):
        assert get(f"{address}/healthz")[2] == b"ok\n"
        status, _, page = get(address + "/")
        assert status == 200
        assert b"19 objects" in page
        for link in re.findall(rb'(?:href|src)="(/[^"]*)"', page):
            assert get(address + link.decode())[0] == 200, link

        best = Query(Exists("interestingness"), sort=(Sort("interestingness", descending=True),), limit=1)
        [row] = catalogue.search(best).rows
        status, headers, content = get(f"{address}/thumbnail/{row['object_id']}.png")
        assert (status, headers["Content-Type"]) == (200, "image/png")
        shown = np.asarray(Image.open(io.BytesIO(content)))
        assert max(shown.shape) == 240
        assert shown.std() > 10, "a picture with something on it"

        [cut] = catalogue.search(Query(Eq("tier", "quarantine"))).rows
        assert get(f"{address}/thumbnail/{cut['object_id']}.png")[0] == 200, "what is left of a truncated file"
        assert get(f"{address}/thumbnail/{'0' * 32}.png")[0] == 404

        assert get(f"{address}/report/1/")[2] == (example.output / "report.html").read_bytes()
        table = list(csv.DictReader(io.StringIO(get(f"{address}/report/1/objects.csv")[2].decode(), newline="")))
        assert len(table) == 19
        assert b'tierflow_indexer_records{run="' in get(f"{address}/metrics")[2]

        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == ""


def test_ctrl_c_ends_it_quietly(example):
    with serving(example.output, "--port", "0") as (_, process, told):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert len(told) == 1


def test_another_address_is_asked_for_and_warned_of(example):
    with serving(example.output, "--host", "0.0.0.0", "--port", "0") as (_, _, told):
        assert "everyone who can reach 0.0.0.0" in told[0]
        assert "no password" in told[0]


def test_a_folder_without_a_run_is_served_and_told_of(example, tmp_path):
    """Runs that begin in it later appear; but it may be the wrong one."""
    with serving(example.output, tmp_path, "--port", "0") as (_, _, told):
        [words] = [line for line in told if "holds no run" in line]
        assert f"{tmp_path} holds no run and no stream yet" in words
        assert "give the --output of `tierflow run` or `tierflow watch`" in words


def test_what_cannot_be_served(tmp_path, example):
    missing = tierflow("serve", tmp_path / "nothing")
    assert (missing.returncode, "no such folder" in missing.stderr) == (66, True)
    assert tierflow("serve", example.output, "--host", "192.0.2.1").returncode == 78
    assert tierflow("serve", example.output, "--port", "99999").returncode == 78


def test_metrics_of_the_example(example, tmp_path):
    target = tmp_path / "tierflow.prom"
    done = tierflow("metrics", example.output, "--out", target)
    assert (done.returncode, done.stdout) == (0, "")
    assert re.search(r'^tierflow_indexer_records\{run=".+"\} 19$', target.read_text(), re.MULTILINE)
    assert tierflow("metrics", tmp_path).returncode == 66
    assert tierflow("metrics", example.output, "--out", tmp_path / "x.txt").returncode == 78
