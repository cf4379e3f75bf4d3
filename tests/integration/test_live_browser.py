"""The live page in a real browser, over a stream full of hostile names: nothing runs, nothing leaves, all works."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from browser_pipe import Browser, find_browser

from tierflow import corrections
from tierflow.catalogue.parquet import ParquetCatalogue
from tierflow.catalogue.query import Query
from tierflow.stream.ledger import Ledger, insert_news

pytestmark = pytest.mark.browser

ATTACK = "document.documentElement.dataset.hacked='yes'"
NAMES = (
    f"<img src=x onerror={ATTACK}>.tif",
    f'"><script>{ATTACK}</script>.tif',
    'quote\'s "and" more.tif',
    "line\nbreak\ttab.tif",
    "rtl \u202efit.exe.tif",
    "https://example.invalid/x.png",
    "long_" + "x" * 230 + ".tif",
)


@contextmanager
def serving(output: Path, *arguments: str):
    command = [sys.executable, "-m", "tierflow", "serve", str(output), "--port", "0", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            told = ""
            while not (found := re.search(r"serving (http://\S+)/ ", told)):
                line = process.stderr.readline()
                assert line, told
                told += line
            # Nobody else reads what it says from now on.
            reader = threading.Thread(target=process.stderr.read)
            reader.start()
            token = re.search(r"log in at \S+ with (\S+)", told)
            yield found[1], token[1] if token else ""
        finally:
            process.terminate()
            status = process.wait(timeout=30)
            reader.join()
        assert status == 0


@contextmanager
def alive(ledger: Ledger):
    """Be the watching process: give signs of life."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.5):
            note(ledger)

    note(ledger)
    ledger.note(watcher={"state": "ok", "message": "", "mode": "events"})
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def note(ledger: Ledger) -> None:
    service = {"pid": os.getpid(), "host": socket.gethostname(), "state": "running", "beat_at": time.time()}
    ledger.note(service=service)


def add(ledger: Ledger, name: str, row: dict, *, state: str) -> None:
    now = time.time()
    path = name.encode("utf-8", "surrogateescape")
    why = f"<b onclick={ATTACK}>odd</b>"
    with ledger.transaction() as db:
        number = db.execute(
            "INSERT INTO objects (path, folder, object_id, state, size, mtime_ns, inode, seen_at, changed_at, "
            "ready_at, ended_at, tier, interestingness, reason) VALUES (?, '', ?, ?, 1000, 0, 0, ?, ?, ?, ?, ?, ?, ?)",
            (path, row["object_id"], state, now, now, now, now + 0.2, row["tier"], row["interestingness"], why),
        ).lastrowid
        detail = {"path": name, "tier": row["tier"], "interestingness": row["interestingness"], "reason": why}
        insert_news(db, state, [(number, detail)])


@pytest.fixture
def output(example, tmp_path) -> Path:
    shutil.copytree(example.output, tmp_path / "results", symlinks=True)
    return tmp_path / "results"


@pytest.fixture
def rows(output) -> list[dict]:
    columns = ("object_id", "tier", "interestingness")
    return ParquetCatalogue(output).batches(Query(limit=None, columns=columns)).read_all().to_pylist()


@pytest.fixture
def browser(tmp_path):
    program = find_browser()
    if program is None:
        pytest.skip("no browser found: install chromium")
    with Browser(program, tmp_path / "profile") as found:
        yield found


@pytest.fixture
def ledger(output, rows):
    found = Ledger(output)
    measured = [row for row in rows if row["tier"] != "quarantine"]
    for name, row in zip(NAMES, measured, strict=False):
        add(found, name, row, state="done")
    [bad] = [row for row in rows if row["tier"] == "quarantine"]
    add(found, f"bad/{NAMES[0]}", bad, state="quarantined")
    yield found
    found.close()


def texts(selector: str) -> str:
    return f"[...document.querySelectorAll('{selector}')].map((node) => node.textContent)"


SHOWN = {
    NAMES[0],
    NAMES[1],
    NAMES[2],
    "line\\nbreak\\ttab.tif",
    "rtl \\u202efit.exe.tif",
    NAMES[5],
    NAMES[6],
}


def test_hostile_names_are_shown_as_they_are(browser, output, ledger):
    with alive(ledger), serving(output) as (address, _):
        browser.size(420, 900)
        browser.open(f"{address}/live/1/")
        browser.until(f"{texts('#latest .name')}.length == 8 && {texts('#quarantine .name')}.length == 1")
        assert set(browser.evaluate(texts("#latest .name"))) == SHOWN | {f"bad/{NAMES[0]}"}
        assert browser.evaluate(texts("#quarantine .name")) == [f"bad/{NAMES[0]}"]
        assert browser.evaluate(texts("#quarantine .reason")) == [f"<b onclick={ATTACK}>odd</b>"]
        assert browser.evaluate("document.documentElement.dataset.hacked ?? ''") == ""
        assert browser.evaluate("document.documentElement.scrollWidth") == 420, "long names don't widen the page"
        assert browser.evaluate("document.querySelectorAll('#quarantine button').length") == 0, "nobody has logged in"
        assert browser.evaluate("document.getElementById('acts').hidden")
        assert browser.dialogs == []
        assert [line for line in browser.console if "thumbnail" not in line] == []
        assert {url.split("/")[2] for url in browser.asked if url.startswith("http")} == {address.split("/")[2]}


def test_the_policy_stops_injected_markup(browser, output, ledger):
    """Should the page's script once forget itself, the browser refuses to make markup from text."""
    attack = ATTACK.replace("'", "`")
    inject = (
        f"(() => {{ try {{ document.body.innerHTML = '<img src=x onerror={attack}>'; return 'done' }}"
        " catch (error) { return error.name } })()"
    )
    hacked = "document.documentElement.dataset.hacked ?? ''"
    with serving(output) as (address, _):
        assert browser.evaluate(inject) == "done"
        browser.until(f"({hacked}) == 'yes'")
        browser.open(f"{address}/live/1/")
        assert browser.evaluate(inject) == "TypeError"
        assert browser.evaluate(hacked) == ""


def test_what_happens_is_seen_without_reloading(browser, output, ledger, rows):
    known = {found[0] for found in ledger.query("SELECT object_id FROM objects")}
    with alive(ledger), serving(output) as (address, _):
        browser.open(f"{address}/live/1/")
        browser.until("document.getElementById('done').textContent == '7'")
        fresh = next(row for row in rows if row["object_id"] not in known and row["tier"] != "quarantine")
        add(ledger, "fresh.tif", fresh, state="done")
        browser.until("document.getElementById('done').textContent == '8'")
        browser.until(f"{texts('#latest .name')}.includes('fresh.tif')")
        another = next(row for row in rows if row["object_id"] not in known | {fresh["object_id"]})
        add(ledger, "half.tif", another, state="waiting")
        browser.until(f"{texts('#reasons li')}.some((words) => words.endsWith('(such as half.tif)'))")
        assert browser.evaluate(texts("#service [data-words]")) == ["running"]
        ledger.note(watcher={"state": "ok", "mode": "events", "left_out_message": "100 .czi files were left out"})
        browser.until(f"{texts('#reasons li')}.includes('100 .czi files were left out')")
        ledger.note(watcher={"state": "root_lost", "message": "<b>the share is away</b>: mount it", "mode": "polling"})
        browser.until(f"{texts('#watcher [data-words]')}[0].includes('<b>the share is away</b>: mount it')")


def test_plates_and_search(browser, output, ledger):
    with serving(output) as (address, _):
        browser.open(f"{address}/live/1/")
        browser.until("document.querySelectorAll('#wells .w').length > 0")
        assert browser.evaluate("document.querySelector('#wells .w').getAttribute('fill')").startswith("#")
        search = "document.getElementById('q').value = '%s'; document.getElementById('search').requestSubmit()"
        browser.evaluate(search % "tier:quarantine")
        browser.until(f"{texts('#q-count')}[0].startsWith('1 object')")
        assert len(browser.evaluate(texts("#found .name"))) == 1
        browser.evaluate(search % "nothing:here")
        browser.until("!document.getElementById('q-problem').hidden")
        assert "nothing" in browser.evaluate(texts("#q-problem"))[0]


def test_a_plate_without_wells_has_no_grid(browser, output, ledger):
    for path in (output / "catalogue").glob("*.parquet"):
        table = pq.read_table(path)
        for name, value in (("plate", "."), ("well", None)):
            field = table.schema.field(name)
            column = pa.array([value] * len(table), pa.string()).cast(field.type)
            table = table.set_column(table.schema.get_field_index(name), field, column)
        pq.write_table(table, path)
    with serving(output) as (address, _):
        browser.open(f"{address}/live/1/")
        browser.until(f"{texts('#well')}[0].includes('tell no well')")
        shown = "[...document.getElementById('plate-box').children].filter((each) => each.checkVisibility())"
        assert browser.evaluate(f"{shown}.map((each) => each.id)") == ["well"]
        assert browser.evaluate(texts("#plate option")) == ["example plate (19)"]


def test_an_operator_logs_in_and_acts(browser, output, ledger, rows):
    with alive(ledger), serving(output, "--allow-actions") as (address, token):
        browser.open(f"{address}/live/1/")
        browser.until("!document.getElementById('login').hidden")
        browser.open(f"{address}/login")
        browser.evaluate(f"document.querySelector('input').value = '{token}'; document.querySelector('button').click()")
        browser.until("location.pathname == '/'")
        assert browser.evaluate("document.cookie") == "", "scripts don't see the session"
        browser.open(f"{address}/live/1/")
        browser.until("document.querySelectorAll('#quarantine button').length == 3")

        browser.until("!document.getElementById('pause').disabled")
        browser.evaluate("document.getElementById('pause').click()")
        browser.until("document.getElementById('toast').textContent.startsWith('Asked to pause')")
        browser.evaluate("document.querySelectorAll('#quarantine button')[0].click()")
        browser.until("document.getElementById('toast').textContent.startsWith('Asked to try it again')")

        browser.evaluate("document.querySelectorAll('#quarantine button')[1].click()")
        browser.until("document.getElementById('dialog').open")
        browser.evaluate(
            "document.getElementById('tier').value = 'B'; document.getElementById('reason').value = 'seen by eye';"
            "document.getElementById('dialog-ok').click()"
        )
        browser.until("document.getElementById('toast').textContent.startsWith('Recorded for 1 object')")

        [bad] = [row["object_id"] for row in rows if row["tier"] == "quarantine"]
        [decision] = corrections.read(output)
        assert (decision.tier, decision.reason, decision.objects) == ("B", "seen by eye", (bad,))
        assert [name for _, _, name, _ in ledger.requests()] == ["pause", "retry", "relabel"]
        assert {by for _, by, _, _ in ledger.requests()} == {decision.by}


def test_a_server_that_ends_is_noticed(browser, output, ledger):
    with serving(output) as (address, _):
        browser.open(f"{address}/live/1/")
        browser.until(f"{texts('#link [data-words]')}[0] == 'up to date'")
    browser.until(f"{texts('#link [data-words]')}[0].startsWith('no connection')")
