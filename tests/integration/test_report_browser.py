"""A report full of hostile names, opened in a real browser: nothing runs, nothing leaves the machine, all works."""

from __future__ import annotations

import html as html_text
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from browser_pipe import BROWSERS, COMMON_FLAGS
from PIL import Image

from tierflow import tables
from tierflow.catalogue.schema import catalogue_schema
from tierflow.config import Config
from tierflow.report.build import build
from tierflow.report.page import Material
from tierflow.report.source import TableSource

pytestmark = pytest.mark.browser

FLAGS = (*COMMON_FLAGS, "--enable-logging=stderr", "--virtual-time-budget=4000")
# Without a dot, which no feature's name may hold.
ATTACK = "document['documentElement']['dataset']['hacked']='yes'"
HOME = "not an origin"
TELL = "const tell = (found) => { document.documentElement.dataset.result = JSON.stringify(found) };"
HOSTILE = (
    f"a/<script>{ATTACK}</script>.tif",
    f'a/"><img src=x onerror={ATTACK}>.tif',
    f"a/</script><script>{ATTACK}</script>.tif",
    f"a/'-{ATTACK}-'.tif",
    f"a/<svg onload={ATTACK}>.tif",
    "a/{{ 7*7 }}{% raw %}.tif",
    "a/line\nbreak\ttab.tif",
    "a/\u202efit.exe",
    "a/bad \\xff byte.tif",
    "a/<!--<script>.tif",
    "a/[]]>&amp;&lt;.tif",
    "a/https://example.invalid/x.png",
)


@pytest.fixture(scope="session")
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser found (looked for {', '.join(BROWSERS)}): install chromium")
    return found


def hostile_table(folder: Path) -> pa.Table:
    rng = np.random.default_rng(0)
    rows = []
    for index, path in enumerate(HOSTILE * 3):
        name = f"{index} {path}"
        failed = index % 4 == 3
        image = folder / f"{index}.png"
        Image.fromarray(rng.integers(0, 255, (300, 400), dtype=np.uint8)).save(image)
        flag = "truncated" if failed else f"<b onclick={ATTACK}>odd</b>"
        rows.append(
            {
                "object_id": f"{index:032x}",
                "path": name,
                "path_bytes": name.encode("utf-8", "surrogateescape"),
                "destination": str(image),
                "status": "failed" if failed else "ok",
                "reason": f"reason </script><img src=x onerror={ATTACK}>",
                "interestingness": None if failed else index / 36,
                "best_plane": None if failed else 0,
                "tier": "quarantine" if failed else ("A" if index / 36 >= 0.75 else "D"),
                "why": f"<i>{path}</i>",
                "flags": [flag],
                "flag_details": [{"flag": flag, "text": f"<script>{ATTACK}</script>"}],
                "plate": path,
                "well": "B03",
                "row": 2,
                "column": 3 + index % 5,
                "channel": f"<script>{ATTACK}</script>",
                "acquired_at": f"2024-01-{index + 1:02d}<b>",
                "bytes": 1000 + index,
                "height": 300,
                "width": 400,
                "dtype": "uint8",
                "mid_band_share": None if failed else index / 100,
                f"<img src=x onerror={ATTACK}>": None if failed else float(index),
            }
        )
    schema = catalogue_schema({"mid_band_share": "", f"<img src=x onerror={ATTACK}>": ""})
    return tables.from_rows(rows, schema)


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    config = Config(
        input=str(folder),
        dataset=f"<script>{ATTACK}</script>",
        report={"title": f"</title><script>{ATTACK}</script>"},
        score={"parameters": {"note": f"</script><script>{ATTACK}</script>"}},
    )
    cuts = [{"tier": t, "minimum": m, "last_unit": None} for t, m in (("A", 0.75), ("B", 0.5), ("C", 0.25), ("D", 0.0))]
    material = Material(
        source=TableSource(hostile_table(folder)),
        config=config,
        summary={
            "input": f"{folder}/<script>{ATTACK}</script>",
            "warnings": [f"odd name <img src=x onerror={ATTACK}> `<script>{ATTACK}</script>`"],
            "skipped": {f"<script>{ATTACK}</script>": 3, "thumbnail": 2},
        },
        policy={"kind": "interval", "cuts": cuts, "flag_tiers": {}},
        baseline={},
        output=folder,
        csv="objects.csv",
    )
    target = folder / "report.html"
    build(material, target)
    return target


def requests_of_pages(log: Path) -> list[str]:
    """Return the addresses that pages asked for; the browser's own calls home have no origin as their initiator."""
    found = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if '"initiator"' not in line:
            continue
        event, _ = json.JSONDecoder().raw_decode(line)
        parameters = event["params"]
        if parameters["initiator"] != HOME and "url" in parameters:
            found.append(parameters["url"])
    return found


def opened(browser: str, page: Path, folder: Path) -> tuple[str, list[str], list[str]]:
    """Return the document after its scripts ran, console messages, and addresses asked for over a network."""
    log = folder / "net.json"
    command = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", "--dump-dom"]
    done = subprocess.run(
        [*command, page.resolve().as_uri()], capture_output=True, text=True, timeout=120, check=True, errors="replace"
    )
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, console, requests_of_pages(log)


def test_the_network_log_sees_what_a_page_asks_for(browser: str, tmp_path: Path) -> None:
    """The other tests' empty list means something."""
    page = tmp_path / "asks.html"
    page.write_text('<!doctype html><img src="http://127.0.0.1:9/x.png"><script>nowhere()</script>', encoding="utf-8")
    _, console, asked = opened(browser, page, tmp_path)
    assert "http://127.0.0.1:9/x.png" in asked
    assert any("nowhere" in line for line in console)


def driven(page: Path, folder: Path, script: str) -> Path:
    """Return a copy of the page in which `script` runs after the page's own, as a person's clicks would."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    copy = folder / "driven.html"
    copy.write_text(
        text.replace("</body>", f"<script>{TELL} addEventListener('load', () => {{ {script} }})</script></body>"),
        encoding="utf-8",
    )
    return copy


def result(document: str) -> dict[str, object]:
    found = re.search(r'data-result="([^"]*)"', document)
    assert found, "the driving script did not finish"
    loaded: dict[str, object] = json.loads(html_text.unescape(found[1]))
    return loaded


def test_hostile_names_neither_run_nor_break_the_page(browser: str, page: Path, tmp_path: Path) -> None:
    document, console, asked = opened(browser, page, tmp_path)
    assert "data-hacked" not in document
    assert console == []
    assert asked == []
    assert '<html lang="en" class="on">' in document
    assert document.count('class="tile"') == 27  # 9 best, 9 lowest, 9 failed


def test_escaping_alone_stops_the_attack(browser: str, page: Path, tmp_path: Path) -> None:
    """Without the security policy, which stands behind the escaping, nothing runs either."""
    everything = (
        "for (const tile of document.querySelectorAll('.tile')) tile.click();"
        "document.querySelectorAll('.listing thead th')[0].click();"
        "document.getElementById('more').click();"
        "tell({hacked: document.documentElement.dataset.hacked ?? ''})"
    )
    document, console, asked = opened(browser, driven(page, tmp_path, everything), tmp_path)
    assert result(document) == {"hacked": ""}
    assert console == []
    assert asked == []


def test_the_security_policy_alone_stops_an_injected_script(browser: str, page: Path, tmp_path: Path) -> None:
    """Should a future template forget to escape, the browser refuses the script."""
    text = page.read_text(encoding="utf-8")
    copy = tmp_path / "injected.html"
    copy.write_text(text.replace("<h1", f"<script>{ATTACK}</script><img src=x onerror={ATTACK}><h1"), encoding="utf-8")
    document, console, asked = opened(browser, copy, tmp_path)
    assert not re.search(r"<html[^>]*data-hacked", document)
    assert any("Content Security Policy" in line for line in console)
    assert asked == []


def test_sliders_count_what_a_policy_would(browser: str, page: Path, tmp_path: Path) -> None:
    script = (
        "const slider = document.querySelectorAll('#whatif input')[0];"
        "const cells = () => [...document.querySelectorAll('#whatif [data-then=counts]')];"
        "const read = () => cells().map((cell) => Number(cell.textContent));"
        "const before = read(); slider.value = 0.9; slider.dispatchEvent(new Event('input')); const after = read();"
        "document.getElementById('whatif-reset').click();"
        "tell({before, after, again: read()})"
    )
    document, _, _ = opened(browser, driven(page, tmp_path, script), tmp_path)
    score = np.array([i / 36 for i in range(36) if i % 4 != 3])
    found = result(document)
    # The table says D for everything below 0.75, so the run's own numbers differ from what the cut-offs would give.
    assert found["before"] == [int((score >= 0.75).sum()), 0, 0, int((score < 0.75).sum())]
    assert found["again"] == found["before"]
    edges = [0.9, 0.5, 0.25]
    assert found["after"] == [
        int((score >= edges[0]).sum()),
        int(((score < edges[0]) & (score >= edges[1])).sum()),
        int(((score < edges[1]) & (score >= edges[2])).sum()),
        int((score < edges[2]).sum()),
    ]


def test_filter_and_sort_find_objects(browser: str, page: Path, tmp_path: Path) -> None:
    script = (
        "const filter = document.getElementById('filter');"
        "const rows = () => [...document.querySelectorAll('#listing tbody tr')];"
        "filter.value = 'tier:quarantine'; filter.dispatchEvent(new Event('input')); const failed = rows().length;"
        "filter.value = ''; filter.dispatchEvent(new Event('input'));"
        "const head = document.querySelector('th[data-key=interestingness]'); head.click(); head.click();"
        "const cells = rows().map((row) => row.querySelector('.k-interestingness').textContent).filter(Boolean);"
        "tell({failed, cells: cells.map(Number), sort: head.getAttribute('aria-sort')})"
    )
    document, _, _ = opened(browser, driven(page, tmp_path, script), tmp_path)
    found = result(document)
    assert found["failed"] == 9
    assert found["sort"] == "ascending"
    assert found["cells"] == sorted(round(i / 36, 3) for i in range(36) if i % 4 != 3)


def test_dialog_shows_the_object_and_gives_the_focus_back(browser: str, page: Path, tmp_path: Path) -> None:
    script = (
        "const tile = document.querySelectorAll('.tile')[2]; const viewer = document.getElementById('viewer');"
        "tile.click();"
        "const name = document.getElementById('viewer-name').textContent; const open = viewer.open;"
        "const same = name === tile.querySelector('.name').textContent; viewer.close();"
        "setTimeout(() => tell({open, same, closed: !viewer.open, focus: document.activeElement === tile}), 50)"
    )
    document, console, _ = opened(browser, driven(page, tmp_path, script), tmp_path)
    assert result(document) == {"open": True, "same": True, "closed": True, "focus": True}
    assert console == []


@pytest.mark.parametrize("width", [400, 800, 1600])
def test_no_part_is_wider_than_the_window(browser: str, page: Path, tmp_path: Path, width: int) -> None:
    """Only tables may scroll, inside their own frame."""
    frame = tmp_path / "frame.html"
    inner = driven(page, tmp_path, "parent.postMessage(document.documentElement.scrollWidth, '*')")
    frame.write_text(
        f'<!doctype html><html><body><iframe src="{inner.name}" width="{width}" height="900"></iframe><script>'
        f"{TELL} addEventListener('message', (event) => tell({{wide: event.data}}))"
        "</script></body></html>",
        encoding="utf-8",
    )
    document, _, _ = opened(browser, frame, tmp_path)
    assert result(document)["wide"] <= width
