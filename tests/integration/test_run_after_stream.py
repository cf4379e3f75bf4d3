"""A run over the output of a stream: nothing is measured again, and it is as if there had never been a stream."""

from __future__ import annotations

from pathlib import Path

import integration_cli
import numpy as np
import pytest
import tifffile

from tierflow import tables
from tierflow.stream.fold import TABLES, table_paths

OF_THE_RUN = {"run", "measured_at", "scored_at"}


def tierflow(*words: str | Path, folder: Path) -> None:
    done = integration_cli.tierflow(*words, cwd=folder)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Twelve images of a plate."""
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for number in range(12):
        blocks = np.kron(rng.integers(0, 50_000, (24, 24)), np.ones((4, 4)))
        pixels = (blocks + rng.integers(0, 200, (96, 96))).astype(np.uint16)
        tifffile.imwrite(folder / f"plate_{'ABC'[number % 3]}{number // 3 + 1:02d}_s1_w1.tif", pixels)
    return folder


def test_a_run_after_a_stream_measures_nothing_and_gives_what_a_run_alone_gives(tmp_path: Path, images: Path) -> None:
    """Scores, tiers and records are equal; the extract table isn't even touched."""
    tierflow("watch", images, "--output", "streamed", "--once", "--quiet", folder=tmp_path)
    extract = table_paths(tmp_path / "streamed", "00000")["extract"]
    before = extract.stat()
    tierflow("run", images, "--output", "streamed", folder=tmp_path)
    tierflow("run", images, "--output", "alone", folder=tmp_path)
    assert (before.st_ino, before.st_mtime_ns) == (extract.stat().st_ino, extract.stat().st_mtime_ns)
    for name in TABLES:
        found, expected = (tables.read(table_paths(tmp_path / out, "00000")[name]) for out in ("streamed", "alone"))
        columns = [column for column in expected.column_names if column not in OF_THE_RUN]
        assert found.column_names == expected.column_names
        assert found.select(columns).to_pylist() == expected.select(columns).to_pylist()
    tierflow("verify", "streamed", folder=tmp_path)
    tierflow("watch", images, "--output", "streamed", "--once", "--quiet", folder=tmp_path)
    assert tables.read(extract).num_rows == 12
    assert before.st_ino == extract.stat().st_ino
