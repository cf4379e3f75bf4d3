import pytest

from tierflow.catalogue.elastic.described import described
from tierflow.catalogue.elastic.runs import run_document
from tierflow.catalogue.fields import Fields
from tierflow.catalogue.schema import BASE_COLUMNS
from tierflow.testing.catalogue_model import planted_records

MAPPING = {
    "properties": {
        "features": {"properties": {"snr": {"type": "double"}, "odd": {"type": "double"}}},
        "metadata": {
            "properties": {
                "dose": {"type": "double"},
                "day": {"type": "keyword", "fields": {"date": {}}},
                "age": {"type": "long"},
            }
        },
    }
}


def test_a_run_gives_back_its_own_columns(tmp_path):
    table = planted_records()
    run = run_document(table, output=tmp_path)
    assert described([run], []).equals(table.schema.remove_metadata(), check_metadata=True)


def test_what_only_the_mapping_knows_comes_last(tmp_path):
    run = run_document(planted_records(), output=tmp_path)
    columns = described([run], [MAPPING]).names
    assert columns[: len(BASE_COLUMNS)] == BASE_COLUMNS
    assert columns[-6:-3] == ["metadata.day", "metadata.age", "snr"]
    assert columns[-2:] == ["ImageQuality_MeanIntensity", "odd"]
    fields = Fields.of_schema(described([], [MAPPING]))
    assert [fields[f"metadata.{name}"].kind for name in ("dose", "day", "age")] == ["number", "text", "integer"]
    assert fields["metadata.day"].unit == "ISO 8601"
    assert fields["features.odd"].unit == ""


@pytest.mark.parametrize("given", [[{"histogram": True}, {}], [{}, {"histogram": True}]])
def test_one_run_with_histograms_is_enough(given):
    assert "histogram" in described(given, []).names
    assert "histogram" not in described([{}], []).names
