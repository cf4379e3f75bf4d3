"""The workflow that is submitted, and the configuration as text."""

from __future__ import annotations

import pytest
import yaml
from argo_workflows import NAME, workflow

from tierflow.argo.client_submit import again, check_parameters, config_text, parse_parameters, workflow_of
from tierflow.errors import ConfigError


def test_a_workflow_names_its_template_and_what_differs():
    made = workflow_of("tierflow-batch", {"input": "/images/a"}, parallelism=7)
    assert made["spec"] == {
        "workflowTemplateRef": {"name": "tierflow-batch"},
        "arguments": {"parameters": [{"name": "input", "value": "/images/a"}]},
        "parallelism": 7,
    }
    assert "parallelism" not in workflow_of("tierflow-batch", {})["spec"]


def test_again_is_the_same_run_under_another_name():
    made = again(workflow(phase="Failed"))
    assert made["spec"]["arguments"]["parameters"] == [{"name": "input", "value": "/images/plate"}]
    assert made["metadata"]["labels"]["tierflow/retry-of"] == NAME
    assert "name" not in made["metadata"]
    by_hand = workflow()
    del by_hand["spec"]["workflowTemplateRef"]
    with pytest.raises(ConfigError, match="--server"):
        again(by_hand)


def test_parameters_are_read_and_checked_against_the_template():
    assert parse_parameters(["approve-above=0.2", "config=a=b"]) == {"approve-above": "0.2", "config": "a=b"}
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        parse_parameters(["approve-above"])
    template = {
        "metadata": {"name": "tierflow-batch"},
        "spec": {"arguments": {"parameters": [{"name": "input"}, {"name": "approve-above"}]}},
    }
    check_parameters(["input"], template)
    with pytest.raises(ConfigError, match="Did you mean 'approve-above'"):
        check_parameters(["aprove-above"], template)


def test_only_what_was_given_is_sent():
    assert config_text({}, []) == ""
    text = config_text({"scan": {"shard_objects": 5}}, [{"score": {"function": "haste"}}])
    assert yaml.safe_load(text) == {"scan": {"shard_objects": 5}, "score": {"function": "haste"}}


def test_tiers_are_spelt_out_because_a_text_replaces_them_whole():
    text = config_text({}, [{"tiers": {"C": {"driver": "copy"}}}])
    tiers = yaml.safe_load(text)["tiers"]
    assert list(tiers) == ["A", "B", "C", "D"]
    assert [tier["driver"] for tier in tiers.values()] == ["link", "link", "copy", "link"]
    own = config_text({"tiers": {"best": {}, "rest": {}}}, [{"tiers": {"rest": {"driver": "trash"}}}])
    assert {name: tier["driver"] for name, tier in yaml.safe_load(own)["tiers"].items()} == {
        "best": "link",
        "rest": "trash",
    }


def test_a_wrong_key_never_leaves_this_machine():
    with pytest.raises(ConfigError, match="functon"):
        config_text({}, [{"score": {"functon": "haste"}}])
