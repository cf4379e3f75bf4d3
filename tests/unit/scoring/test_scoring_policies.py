"""Policies: exact cut-offs, ties, limits, and messages."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow import tables
from tierflow.config import QUARANTINE, Config
from tierflow.config_io import validate
from tierflow.errors import ConfigError, InputMissingError, TableError, TooManyFailedError
from tierflow.interestingness.base import PlaneTable
from tierflow.interestingness.logistic import SLOPE, Haste, HasteParameters
from tierflow.policies import choose
from tierflow.policies.base import Cut, Taken
from tierflow.policies.choose import Resolved
from tierflow.policies.ranking import assign, best_first
from tierflow.policies.resolve import require_few_failed, resolve
from tierflow.scoring.build import make_policy


def policy(kind, parameters=None, tiers=("A", "B", "C", "D")):
    tree = {"policy": {"kind": kind, "parameters": parameters or {}}, "tiers": {tier: {} for tier in tiers}}
    return make_policy(validate(tree))


def units(values, *, names=None, size=1):
    count = len(values)
    return {
        "unit_id": np.array(names or [f"u{n:03d}" for n in range(count)], dtype=object),
        "interestingness": np.array(values, dtype=float),
        "size": np.full(count, size),
    }


def tiers_of(kind, values, parameters=None, *, tiers=("A", "B", "C", "D"), taken=None, **more):
    given_units = units(values, **more)
    cuts = policy(kind, parameters, tiers).resolve(**given_units, taken=taken or {})
    found = assign(cuts, unit_id=given_units["unit_id"], interestingness=given_units["interestingness"])
    return [cuts[position].tier for position in found]


def test_default_intervals_are_half_open_quarters():
    edges = [0, 0.25, 0.5, 0.75]
    below = [np.nextafter(edge, -1) for edge in edges[1:]]
    assert tiers_of("interval", edges) == ["D", "C", "B", "A"]
    assert tiers_of("interval", below) == ["D", "C", "B"]
    assert tiers_of("interval", [0.0, 1.0]) == ["D", "A"]


def test_default_intervals_are_equal_parts_of_any_number_of_tiers():
    assert tiers_of("interval", [0, 0.33, 0.34, 0.66, 0.67, 1], tiers=("x", "y", "z")) == ["z", "z", "y", "y", "x", "x"]
    assert tiers_of("interval", [0, 1], tiers=("only",)) == ["only", "only"]


def test_case_study_1_cuts_the_slope_where_the_paper_does():
    slopes = np.array([0.0, -1.155, -1.157, -1.399, -1.401, -1.643, -1.645, -4.0])
    planes = PlaneTable(features={SLOPE: slopes}, median={}, mad={}, object_id=np.array(["o"] * 8, dtype=object))
    values = Haste(HasteParameters()).score(planes)
    assert tiers_of("interval", values) == ["D", "D", "C", "C", "B", "B", "A", "A"]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_every_value_has_exactly_one_interval(values):
    for value, tier in zip(values, tiers_of("interval", values), strict=True):
        assert tier == ("A" if value >= 0.75 else "B" if value >= 0.5 else "C" if value >= 0.25 else "D")


@pytest.mark.parametrize(
    ("intervals", "says"),
    [
        ([("A", 0.6, 1), ("B", 0, 0.5)], ["gap", "B [0, 0.5)", "A [0.6, 1]", "0.55"]),
        ([("A", 0.4, 1), ("B", 0, 0.5)], ["overlap", "B [0, 0.5)", "A [0.4, 1]"]),
        ([("A", 0.5, 1), ("B", 0.1, 0.5)], ["nothing takes 0", "B [0.1, 0.5)", "set its min to 0"]),
        ([("A", 0.5, 0.9), ("B", 0, 0.5)], ["nothing takes 1", "A [0.5, 0.9)", "set its max to 1"]),
        ([("A", 0.5, 0.5), ("B", 0, 1)], ["A [0.5, 0.5)", "is empty"]),
        ([("Aa", 0.5, 1), ("B", 0, 0.5)], ["no tier 'Aa'", "did you mean 'A'?"]),
    ],
)
def test_bad_intervals_name_both_ranges_and_the_remedy(intervals, says):
    parameters = {"intervals": [{"tier": tier, "min": low, "max": high} for tier, low, high in intervals]}
    with pytest.raises(ConfigError, match=r"policy\.parameters\.intervals") as error:
        policy("interval", parameters)
    for part in says:
        assert part in str(error.value)


def test_quantile_shares_out_equal_values_by_unit_id():
    names = ["d", "b", "a", "c"]
    assert tiers_of("quantile", [0.5] * 4, names=names) == ["D", "B", "A", "C"]
    assert tiers_of("quantile", [0.1, 0.2, 0.3, 0.4], {"shares": {"A": 0.25, "C": 0.75}}) == ["C", "C", "C", "A"]


def test_quantile_needs_shares_that_make_one():
    with pytest.raises(ConfigError, match=r"make 0\.9 together, expected 1; change one by \+0\.1"):
        policy("quantile", {"shares": {"A": 0.4, "B": 0.5}})


def test_top_k_counts_what_flags_have_put_there():
    values = [0.9, 0.8, 0.7, 0.6]
    parameters = {"k": {"A": 2, "B": 1, "C": 0}}
    assert tiers_of("top_k", values, parameters) == ["A", "A", "B", "D"]
    assert tiers_of("top_k", values, parameters, taken={"A": Taken(1, 5)}) == ["A", "B", "D", "D"]
    assert tiers_of("top_k", values, parameters, taken={"A": Taken(9, 5)}) == ["B", "D", "D", "D"]


@pytest.mark.parametrize(
    ("kind", "parameters", "says"),
    [
        ("top_k", {"k": {"A": 1}}, "no number of units for B, C: give one for every tier but the last"),
        ("top_k", {"k": {"A": 1, "B": 1, "C": 1, "D": 1}}, "'D' is the last tier and takes everything that is left"),
        ("top_k", {}, "`k` is missing"),
        ("top_k", {"k": {"A": -1, "B": 1, "C": 1}}, "greater than or equal to 0"),
        ("budget", {"limit_gb": {"A": 1, "B": 1}}, "no limit in GB for C"),
        ("budget", {"limit_tb": {"A": 1}}, "did you mean `limit_gb`? The unit is part of the name"),
        ("interval", {"interval": []}, "did you mean `intervals`?"),
        ("quantil", {}, "Did you mean 'quantile'?"),
    ],
)
def test_wrong_parameters_say_what_to_do(kind, parameters, says):
    with pytest.raises(ConfigError) as error:
        policy(kind, parameters)
    assert says in str(error.value)


def test_budget_fills_the_best_tier_first():
    giga = {"A": 0.003, "B": 0.002, "C": 0}
    values = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    assert tiers_of("budget", values, {"limit_gb": giga}, size=1_000_000) == ["A", "A", "A", "B", "B", "D"]
    assert tiers_of("budget", values, {"limit_gb": giga}, size=1_600_000) == ["A", "B", "D", "D", "D", "D"]
    used = {"A": Taken(3, 2_500_000)}
    assert tiers_of("budget", values, {"limit_gb": giga}, size=1_000_000, taken=used) == ["B", "B", "D", "D", "D", "D"]


def test_budget_never_exceeds_its_limits():
    random = np.random.default_rng(0)
    budget = policy("budget", {"limit_gb": {"A": 1, "B": 2, "C": 3}})
    given_units = units(np.round(random.random(500), 2)) | {"size": random.integers(0, 30_000_000, 500)}
    cuts = budget.resolve(**given_units, taken={})
    found = assign(cuts, unit_id=given_units["unit_id"], interestingness=given_units["interestingness"])
    used = np.bincount(found, weights=given_units["size"], minlength=4)
    assert (used[:3] <= [1e9, 2e9, 3e9]).all()
    assert (used[:3] > [0.97e9, 1.97e9, 2.97e9]).all()


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.text("abé", min_size=1, max_size=3)), max_size=20))
def test_ranks_fall_and_ties_go_by_unit_id(members):
    values = np.array([value for value, _ in members])
    names = np.array([name for _, name in members], dtype=object)
    order = best_first(names, values)
    assert sorted(order.tolist()) == list(range(len(members)))
    ranked = [(-values[i], names[i]) for i in order]
    assert ranked == sorted(ranked)


def score_table(rows):
    blank = {"object_id": "o", "sha256": None, "bytes": 1, "best_plane": None, "flag_details": []}
    return tables.from_rows([blank | row for row in rows], tables.SCORE)


def ok(unit, value, *flags, **more):
    return {"unit_id": unit, "status": "ok", "reason": "r", "interestingness": value, "flags": list(flags), **more}


def failed(unit, reason="broken", *flags):
    return {"unit_id": unit, "status": "failed", "reason": reason, "interestingness": None, "flags": list(flags)}


def resolved(config=None, rows=()):
    config = config or Config()
    return resolve(make_policy(config), score_table(rows), config)


def test_flags_force_the_whole_unit_and_failures_only_themselves():
    config = validate({"policy": {"flag_tiers": {"blank": "D", "saturated": "C"}}})
    rows = [
        ok("u1", 0.9),
        ok("u1", 0.9, "saturated"),
        ok("u2", 0.9, "saturated", "blank"),
        failed("u2", "cut off", "truncated", "saturated"),
        ok("u3", 0.9),
        failed("u3", "cut off", "blank"),
        ok("u4", 0.1, "other"),
        failed("u5", None),
    ]
    policy_now = resolved(config, rows)
    tiers, why = policy_now.choose_table(score_table(rows))
    assert tiers == ["C", "C", "D", QUARANTINE, "A", QUARANTINE, "D", QUARANTINE]
    assert why[0] == "flag saturated sends the unit to C"
    assert why[2] == "flag blank sends the unit to D"
    assert why[3] == "cut off"
    assert why[4] == "interestingness 0.75 or more goes to A"
    assert why[6] == "interestingness from 0 up to 0.25 goes to D"
    assert why[7]
    assert policy_now.counts == {"A": 1, "B": 0, "C": 2, "D": 2, QUARANTINE: 3}
    assert policy_now.failed == 3


def test_forced_units_leave_their_rank_to_others():
    tree = {"policy": {"kind": "top_k", "parameters": {"k": {"A": 1, "B": 1, "C": 1}}, "flag_tiers": {"blank": "D"}}}
    rows = [ok("u1", 0.9, "blank"), ok("u2", 0.8), ok("u3", 0.7), ok("u4", 0.6), ok("u5", 0.5)]
    tiers, _ = resolved(validate(tree), rows).choose_table(score_table(rows))
    assert tiers == ["D", "A", "B", "C", "D"]


def test_units_count_once_however_many_objects_they_have():
    tree = {"policy": {"kind": "budget", "parameters": {"limit_gb": {"A": 3e-9, "B": 0, "C": 0}}}}
    rows = [ok("u1", 0.9), ok("u1", 0.9), ok("u2", 0.8), ok("u2", 0.8), failed("u1")]
    tiers, _ = resolved(validate(tree), rows).choose_table(score_table(rows))
    assert tiers == ["A", "A", "D", "D", QUARANTINE]


def test_one_object_is_chosen_as_in_a_table():
    policy_now = resolved(validate({"policy": {"flag_tiers": {"blank": "B"}}}))
    assert policy_now.choose(interestingness=1.0, unit_id="u", flags=[], status="ok")[0] == "A"
    assert policy_now.choose(interestingness=0.0, unit_id="u", flags=[], status="ok")[0] == "D"
    assert policy_now.choose(interestingness=0.0, unit_id="u", flags=["blank"], status="ok")[0] == "B"
    chosen = policy_now.choose(interestingness=None, unit_id="u", flags=["blank"], status="failed", reason="cut off")
    assert chosen == (QUARANTINE, "cut off")


def test_an_empty_run_resolves():
    for kind, parameters in (("interval", {}), ("quantile", {}), ("top_k", {"k": {"A": 1, "B": 1, "C": 1}})):
        policy_now = resolved(validate({"policy": {"kind": kind, "parameters": parameters}}))
        assert policy_now.cuts[-1] == Cut("D", 0.0)
        assert sum(policy_now.counts.values()) == 0


def test_policy_file_holds_everything(tmp_path):
    config = validate({"policy": {"kind": "quantile", "flag_tiers": {"saturated": "D", "blank": QUARANTINE}}})
    rows = [ok(f"u{n}", 0.5) for n in range(8)]
    policy_now = resolved(config, rows)
    policy_now.save(tmp_path / "policy.json")
    again = choose.load(tmp_path / "policy.json")
    assert again == policy_now
    assert list(again.flag_tiers) == ["saturated", "blank"]
    assert again.choose_table(score_table(rows)) == policy_now.choose_table(score_table(rows))
    tree = json.loads((tmp_path / "policy.json").read_text())
    assert tree["cuts"][0] == {"tier": "A", "minimum": 0.5, "last_unit": "u1"}
    assert tree["digest"] == policy_now.digest


def test_digest_follows_what_decides():
    first = Resolved(kind="interval", parameters={}, cuts=(Cut("A", 0.0),), flag_tiers={}, counts={}, failed=0)
    assert first.with_counts({"A": 3}).digest == first.digest
    other = Resolved(kind="interval", parameters={}, cuts=(Cut("B", 0.0),), flag_tiers={}, counts={}, failed=0)
    assert other.digest != first.digest


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (None, InputMissingError),
        ("{", TableError),
        ('{"schema_version": "99"}', TableError),
        ('{"schema_version": "1"}', TableError),
        ("[]", TableError),
    ],
)
def test_damaged_policy_files_are_told(tmp_path, text, error):
    path = tmp_path / "policy.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(error, match=r"policy\.json"):
        choose.load(path)


def test_too_many_failures_name_share_limit_reasons_and_examples():
    rows = [{"flag": "truncated", "reason": f"cut at {n}", "path": f"p/{n}.tif"} for n in range(5)]
    rows += [
        {"flag": kind, "reason": "why", "path": f"{kind}.tif"} for kind in ("missing", "missing", "empty_file", "x")
    ]
    with pytest.raises(TooManyFailedError) as error:
        require_few_failed(rows, objects=20, limit=0.4)
    text = str(error.value)
    for part in ("9 of 20", "45.0%", "40.0%", "5 x truncated, such as p/0.tif: cut at 0", "2 x missing", "mounted"):
        assert part in text
    assert "raise run.max_failed_share" in text
    require_few_failed(rows, objects=20, limit=0.45)


def test_score_tables_of_several_chunks_are_chosen_alike():
    rows = [ok("u1", 0.9), ok("u2", 0.1, "saturated"), failed("u3")]
    policy_now = resolved(validate({"policy": {"flag_tiers": {"saturated": "B"}}}))
    chunked = pa.concat_tables([score_table([row]) for row in rows])
    assert policy_now.choose_table(chunked)[0] == ["A", "B", QUARANTINE]
