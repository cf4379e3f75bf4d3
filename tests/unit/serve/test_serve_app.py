"""What is answered to which request."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
from PIL import Image
from serving_world import make_world, record, write_run

from tierflow.errors import InputMissingError, TableError, TryAgainError
from tierflow.serve.app import App
from tierflow.serve.site import Run, Site


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


def pixels(response) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(response.content)))


def is_placeholder(response) -> bool:
    image = Image.open(io.BytesIO(response.content))
    corner, ink = image.getpixel((5, 5)), int(np.asarray(image).min())
    return image.size == (240, 180) and image.mode == "L" and corner == 222 and ink < 150


def test_a_thumbnail_is_the_image_made_small(world):
    found = world.thumbnail("ramp.tif")
    assert found.status == 200
    assert found.headers["Content-Type"] == "image/png"
    shown = pixels(found)
    assert shown.shape == (120, 240)
    assert shown[0, 0] == 0
    assert shown[0, -1] == 255
    assert (np.diff(shown[60].astype(int)) >= 0).all()


def test_the_plane_that_decided_is_shown(world):
    shown = pixels(world.thumbnail("planes.tif"))
    assert (np.diff(shown[60].astype(int)) <= 0).all()


def test_a_placed_file_is_read_where_it_is_now(world):
    assert pixels(world.thumbnail("placed.tif")).shape == (240, 120)


def test_colours_are_kept(world):
    assert pixels(world.thumbnail("colour.tif")).shape == (50, 80, 3)


@pytest.mark.parametrize(("name", "status"), [("deleted.tif", 410), ("damaged.tif", 422), ("text.tif", 422)])
def test_what_cannot_be_shown_is_a_grey_picture(world, name, status):
    found = world.thumbnail(name)
    assert found.status == status
    assert is_placeholder(found)
    assert found.headers["Cache-Control"] == "no-store"


def test_an_unknown_object(world):
    found = world.get(f"/thumbnail/{'0' * 32}.png")
    assert found.status == 404
    assert is_placeholder(found)


@pytest.mark.parametrize(
    "name",
    [
        "ramp.tif",
        "../ramp.tif",
        "..%2framp.tif",
        "0" * 31,
        "0" * 33,
        "G" * 32,
        "0" * 32 + "/../../x",
        "%30" * 32,
        "0" * 32 + "\n",
        "0" * 31 + "\u0663",
        "",
    ],
)
def test_only_ids_are_understood(world, name, monkeypatch):
    def no_lookup(_self, _object_id):
        raise AssertionError("a name of the request was looked up")

    monkeypatch.setattr(Run, "record", no_lookup)
    found = world.get(f"/thumbnail/{name}.png")
    assert found.status == 404
    assert is_placeholder(found)


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "/../config.yaml",
        "/report/1/../config.yaml",
        "/report/1/config.yaml",
        "/report/1/%2e%2e/config.yaml",
        "/report/1/objects.csv/",
        "/report/0/",
        "/report/01/",
        "/report/-1/",
        "/report/2/",
        "/report/99999999999/",
        "//etc/passwd",
        "\\etc",
        "http://127.0.0.1/healthz",
        "*",
        "",
    ],
)
def test_nothing_else_is_served(world, target):
    found = world.get(target)
    assert found.status == 404
    assert found.file is None
    assert found.headers["Content-Type"].startswith("text/plain")


def test_capital_letters_are_no_id(world):
    assert world.get(f"/thumbnail/{world.id('ramp.tif').upper()}.png").status == 404


def test_a_browser_that_has_it_gets_nothing_and_no_file_is_read(world, monkeypatch):
    app = world.app()
    target, sent = f"/thumbnail/{world.id('ramp.tif')}.png", {"host": "localhost"}
    mark = app.respond("GET", target, sent).headers["ETag"]
    monkeypatch.setattr("tierflow.serve.thumbnails.make", lambda *_: pytest.fail("decoded again"))
    again = app.respond("GET", target, {**sent, "if-none-match": f'"other", W/{mark}'})
    assert (again.status, again.content, again.headers["ETag"]) == (304, b"", mark)
    # Another browser gets it from memory.
    assert app.respond("GET", target, sent).status == 200


def test_a_changed_file_has_another_mark_and_picture(world):
    app, sent = world.app(), {"host": "localhost"}
    target = f"/thumbnail/{world.id('ramp.tif')}.png"
    old = app.respond("GET", target, sent)
    shutil.copy(world.input / "colour.tif", world.input / "ramp.tif")
    new = app.respond("GET", target, {**sent, "if-none-match": old.headers["ETag"]})
    assert new.status == 200
    assert new.headers["ETag"] != old.headers["ETag"]
    assert pixels(new).shape == (50, 80, 3)


@pytest.mark.parametrize(("error", "status"), [(TryAgainError("x"), 503), (TableError("x"), 503)])
def test_a_catalogue_that_cannot_be_read_now(world, monkeypatch, error, status):
    def fail(_self, _object_id):
        raise error

    monkeypatch.setattr("tierflow.catalogue.parquet.ParquetCatalogue.get", fail)
    found = world.thumbnail("ramp.tif")
    assert found.status == status
    assert found.headers["Retry-After"] == "5"
    assert is_placeholder(found)


def test_storage_that_is_away(world, monkeypatch):
    def away(*_, **__):
        raise TryAgainError("the storage doesn't answer")

    monkeypatch.setattr("tierflow.report.reading.load", away)
    assert world.thumbnail("ramp.tif").status == 503


def test_of_two_runs_the_one_whose_file_is_there(world, tmp_path):
    write_run(tmp_path / "first", tmp_path / "nowhere", [record("ramp.tif")])
    app = App(Site([tmp_path / "first", world.output]), loopback_only=True)
    assert app.respond("GET", f"/thumbnail/{world.id('ramp.tif')}.png", {"host": "localhost"}).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_nothing_can_be_changed(world, method):
    found = world.get("/", method)
    assert found.status == 405
    assert found.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_length": "1"}, 413),
        ({"content_length": "x"}, 413),
        ({"transfer_encoding": "chunked"}, 413),
        ({"content_length": "0"}, 200),
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example"}, 421),
        ({"host": "evil.example:8600"}, 421),
        ({"host": ""}, 421),
        ({"host": "LocalHost:1234"}, 200),
        ({"host": "[::1]:8600"}, 200),
    ],
)
def test_requests_that_no_honest_browser_sends(world, headers, status):
    assert world.get("/healthz", **headers).status == status


def test_behind_another_address_any_name_may_be_used(world):
    answer = world.app(loopback_only=False).respond("GET", "/healthz", {"host": "files.lab:8600"})
    assert answer.status == 200


def test_an_address_that_is_too_long(world):
    assert world.get("/thumbnail/" + "0" * 300).status == 414
    assert world.get("/healthz?cache=off").status == 200


def test_every_answer_forbids_what_it_does_not_need(world):
    for target in ("/", "/healthz", "/metrics", "/nothing", "/report/1/", f"/thumbnail/{'0' * 32}.png"):
        found = world.get(target)
        if found.file is not None:
            found.file.close()
        assert "default-src 'none'" in found.headers["Content-Security-Policy"], target
        assert found.headers["X-Content-Type-Options"] == "nosniff"
        assert found.headers["Referrer-Policy"] == "no-referrer"
        assert found.headers["X-Frame-Options"] == "DENY"
        sharing = "cross-origin" if target.startswith("/thumbnail/") else "same-origin"
        assert found.headers["Cross-Origin-Resource-Policy"] == sharing


def test_a_report(world):
    found = world.get("/report/1/")
    with found.file as file:
        assert file.read() == (world.output / "report.html").read_bytes()
    assert found.length == (world.output / "report.html").stat().st_size
    assert "sandbox allow-scripts" in found.headers["Content-Security-Policy"]
    assert "allow-same-origin" not in found.headers["Content-Security-Policy"]
    again = world.get("/report/1/", if_none_match=found.headers["ETag"])
    assert (again.status, again.file) == (304, None)


def test_the_address_of_a_report_ends_with_a_slash(world):
    found = world.get("/report/1")
    assert (found.status, found.headers["Location"]) == (308, "/report/1/")


def test_the_table_is_downloaded(world):
    found = world.get("/report/1/objects.csv")
    found.file.close()
    assert found.headers["Content-Disposition"] == 'attachment; filename="objects.csv"'


def test_a_run_without_a_report(world):
    (world.output / "report.html").unlink()
    found = world.get("/report/1/")
    assert found.status == 404
    assert b"no report.html yet" in found.content
    assert b"no report yet" in world.get("/").content


def test_the_start_page(world):
    found = world.get("/")
    text = found.content.decode()
    assert found.status == 200
    assert "8 objects" in text
    assert '<a href="/report/1/">' in text
    assert text.count("/thumbnail/") == 6
    assert text.index(world.id("ramp.tif")) < text.index(world.id("planes.tif"))
    assert "quarantine" in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert "style=" not in text, "the policy lets no style but the page's own through"


def test_the_start_page_follows_the_catalogue(world):
    app, sent = world.app(), {"host": "localhost"}
    assert b"8 objects" in app.respond("GET", "/", sent).content
    write_run(world.output, world.input, [record("ramp.tif")])
    assert b"1 object<" in app.respond("GET", "/", sent).content.replace(b"\n", b"")


def test_a_damaged_run_is_named_and_hides_no_other(world, tmp_path):
    bad = tmp_path / "bad"
    write_run(bad, world.input, [])
    (bad / "catalogue" / "00000.parquet").write_bytes(b"no table")
    app = App(Site([world.output, bad]), loopback_only=True)
    page = app.respond("GET", "/", {"host": "localhost"}).content.decode()
    assert "is damaged" in page
    assert "8 objects" in page
    (bad / "config.yaml").write_text("scan: [")
    page = app.respond("GET", "/", {"host": "localhost"}).content.decode()
    assert "not readable as YAML" in page
    metrics = app.respond("GET", "/metrics", {"host": "localhost"}).content.decode()
    assert 'tierflow_indexer_unreadable{run="bad"} 1' in metrics
    assert 'tierflow_indexer_records{run="world-1"} 8' in metrics


def test_new_runs_appear_and_numbers_stay(world, tmp_path):
    folder = tmp_path / "all"
    write_run(folder / "m", world.input, [record("ramp.tif")])
    site = Site([folder])
    assert [(run.number, run.output.name) for run in site.runs()] == [(1, "m")]
    write_run(folder / "a", world.input, [])
    (folder / "no run").mkdir()
    assert [(run.number, run.output.name) for run in site.runs()] == [(1, "m"), (2, "a")]
    shutil.rmtree(folder / "m")
    assert [(run.number, run.output.name) for run in site.runs()] == [(2, "a")]
    assert site.run(1) is None


def test_without_any_run(tmp_path):
    app = App(Site([tmp_path]), loopback_only=True)
    assert b"No run yet" in app.respond("GET", "/", {"host": "localhost"}).content
    assert app.respond("GET", "/metrics", {"host": "localhost"}).content == b""


def test_folders_without_runs_are_known(world, tmp_path):
    (tmp_path / "nothing").mkdir()
    assert Site([world.output, world.output.parent, tmp_path / "nothing"]).empty() == [tmp_path / "nothing"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputMissingError, match="no such folder"):
        Site([tmp_path, tmp_path / "nothing"])


def test_a_run_that_has_no_catalogue_yet(world):
    shutil.rmtree(world.output / "catalogue")
    assert world.thumbnail("ramp.tif").status == 404
    assert b"no catalogue yet" in world.get("/").content


def test_nothing_is_written(world):
    def state():
        return {path: path.stat().st_mtime_ns for path in world.output.rglob("*")}

    before = state()
    for target in ("/", "/metrics", "/report/1", f"/thumbnail/{world.id('ramp.tif')}.png"):
        world.get(target)
    assert state() == before
