"""The page of a catalogue on a real server says what it says on the Parquet files."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from elasticsearch import helpers

from tierflow import tables
from tierflow.catalogue.elastic.documents import document_id, documents
from tierflow.catalogue.elastic.index import ensure
from tierflow.catalogue.elastic.runs import publish_run, run_document
from tierflow.catalogue.elastic.search import ElasticCatalogue
from tierflow.catalogue.elastic.template import runs_alias
from tierflow.catalogue.parquet import ParquetCatalogue
from tierflow.catalogue.schema import feature_units
from tierflow.errors import ConfigError
from tierflow.report import views_data
from tierflow.report.views import build_views, catalogue_of
from tierflow.testing.tables import make_run


@pytest.fixture(scope="module")
def both(module_elastic, client, tmp_path_factory):
    """One run on the server and in Parquet: settings, and the run's output."""
    output = make_run(
        tmp_path_factory.mktemp("page"), objects=420, shard_objects=420, failed_share=0.1, catalogue=True, images=True
    )
    table = tables.read(output / "catalogue" / "00000.parquet")
    ensure(client, module_elastic, features=feature_units(table.schema))
    actions = ({"_id": document_id(d["run"], d["object_id"]), "_source": d} for d in documents(table))
    helpers.bulk(client, actions, index=module_elastic.alias, require_alias=True)
    publish_run(client, module_elastic, run_document(table, output=output))
    client.indices.refresh(index=[module_elastic.alias, runs_alias(module_elastic.alias)])
    return module_elastic, output


def test_both_catalogues_give_the_same_page(both):
    settings, output = both
    theirs, ours = views_data.read(ElasticCatalogue(settings)), views_data.read(ParquetCatalogue(output))
    for part in fields(views_data.Overview):
        _same(getattr(theirs, part.name), getattr(ours, part.name), part.name)


def _same(theirs, ours, where):
    if isinstance(ours, float):
        assert theirs == pytest.approx(ours, rel=1e-9, nan_ok=True), where
    elif isinstance(ours, np.ndarray):
        np.testing.assert_allclose(theirs, ours, rtol=1e-9, err_msg=where)
    elif isinstance(ours, dict):
        assert list(theirs) == list(ours), where
        for key, value in ours.items():
            _same(theirs[key], value, f"{where}.{key}")
    elif isinstance(ours, list | tuple):
        assert len(theirs) == len(ours), where
        for i, value in enumerate(ours):
            _same(theirs[i], value, f"{where}[{i}]")
    elif hasattr(ours, "__dataclass_fields__"):
        for part in fields(ours):
            _same(getattr(theirs, part.name), getattr(ours, part.name), f"{where}.{part.name}")
    else:
        assert theirs == ours, where


def test_a_page_of_one_run_shows_its_pictures(both, tmp_path):
    settings, _ = both
    address = f"{settings.url}/{settings.alias}"
    run = ElasticCatalogue(settings).facets("run")[0][0]
    catalogue, title = catalogue_of(address, run=run)
    build_views(catalogue, tmp_path / "page.html", title=title)
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f'<h1 id="top">{run}</h1>' in html
    assert html.count('src="data:image/webp;base64,') >= 18
    with pytest.raises(ConfigError, match="no run 'nothing'"):
        catalogue_of(address, run="nothing")
