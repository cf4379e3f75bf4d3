"""The pages say what is so: their queries are read by the language, their commands by the command line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from cyclopts.exceptions import MissingArgumentError

from tierflow.catalogue.elastic.template import mappings
from tierflow.catalogue.fields import Fields
from tierflow.catalogue.language import format_filter, parse
from tierflow.catalogue.schema import catalogue_schema, metadata_field
from tierflow.cli import build_app
from tierflow.config import Elasticsearch, MetadataField
from tierflow.errors import QueryError
from tierflow.metrics import PREFIX, Receipt, RunState, ShardState, exposition

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/elasticsearch.md", "docs/hpc.md", "docs/query-language.md")
FIELDS = Fields.of_schema(
    catalogue_schema(
        {"snr": ""},
        metadata=[
            metadata_field("dose_um", MetadataField(type="number", unit="uM")),
            metadata_field("compound", MetadataField()),
        ],
    )
)
LANGUAGE = (ROOT / "docs" / "query-language.md").read_text()


def rows(heading: str) -> list[tuple[str, str]]:
    """Return the query and the second cell of every row below a heading."""
    section = re.split(r"^## ", LANGUAGE, flags=re.MULTILINE)
    [text] = [part for part in section if part.startswith(heading)]
    return re.findall(r"^\| `(.+?)` \| (.+) \|$", text, re.MULTILINE)


HEADINGS = [line[3:] for line in LANGUAGE.splitlines() if line.startswith("## ")]
GOOD = [query for heading in HEADINGS if heading != "What is refused" for query, _ in rows(heading)]
BAD = [query for query, _ in rows("What is refused")]


def test_the_page_has_queries():
    assert len(GOOD) > 30
    assert len(BAD) > 10
    lines = [line for line in LANGUAGE.splitlines() if line.startswith("| `")]
    assert len(lines) == len(GOOD) + len(BAD), "a row that no test reads"


@pytest.mark.parametrize("query", GOOD)
def test_queries_are_understood(query):
    filters = parse(query, FIELDS)
    assert parse(format_filter(filters), FIELDS) == filters


@pytest.mark.parametrize("query", BAD)
def test_refused_queries_are_refused(query):
    with pytest.raises(QueryError):
        parse(query, FIELDS)


@pytest.mark.parametrize(("query", "same"), rows("Names of fields"))
def test_equal_queries_are_equal(query, same):
    assert parse(query, FIELDS) == parse(same.strip("`"), FIELDS)


def test_what_the_page_says_about_missing_values():
    """`not` includes objects without a value: the filters say so, and the contract suite runs such filters."""
    assert parse("not features.snr>=5", FIELDS) != parse("features.snr<5", FIELDS)


def test_every_sign_of_the_language_is_on_the_page():
    signs = (":", ">", ">=", "<", "<=", "*", '"', "(", "not ", " or ", " and ")
    for sign in signs:
        assert any(sign in query for query in GOOD), sign


def commands() -> list[tuple[str, str, bool]]:
    """Return page, command, and whether it stands in a block to be typed; running text may leave arguments out."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text()
        blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        lines = [(line, True) for block in blocks for line in block.splitlines()]
        lines += [(line, False) for line in re.findall(r"`((?:tierflow|docker compose run) [^`.]+)`", text)]
        for line, whole in lines:
            line = re.sub(r"^docker compose run --rm plate (?=\w)", "tierflow ", line)
            if line.startswith("tierflow "):
                found.append((page, line, whole))
    return found


@pytest.mark.parametrize(("page", "line", "whole"), commands())
def test_commands_are_the_command_line_s(page, line, whole):
    arguments = shlex.split(line, comments=True)[1:]
    try:
        build_app().parse_args(arguments, exit_on_error=False, print_error=False)
    except MissingArgumentError:
        assert not whole, f"{page}: {line} lacks an argument"


def test_links_lead_somewhere():
    for page in (*PAGES, "docs/record.md", "docs/features.md"):
        path = ROOT / page
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{page}: {target}"


def test_metrics_on_the_page_are_those_that_are_served():
    state = RunState(run="a", publishes=True, shards=[ShardState(1, 0.0, Receipt(1.0))])
    served = {line.split()[2] for line in exposition([state], now=2.0).splitlines() if line.startswith("# TYPE")}
    page = (ROOT / "docs" / "elasticsearch.md").read_text()
    assert set(re.findall(rf"{PREFIX}\w+", page)) == served


def test_settings_on_the_page_exist():
    page = (ROOT / "docs" / "elasticsearch.md").read_text()
    named = set(re.findall(r"catalogue\.elasticsearch\.(\w+)", page))
    assert named <= set(Elasticsearch.model_fields)
    assert "url" in named


def test_every_field_of_the_mapping_is_on_the_page():
    page = (ROOT / "docs" / "record.md").read_text()
    for name in mappings({})["properties"]:
        assert f"`{name}`" in page or f"`{name}.NAME`" in page, f"{name}: write the page again with scripts/render"
