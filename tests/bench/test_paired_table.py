import json
import math

import pytest

from lob_jax.bench.cells import Outcomes
from lob_jax.bench.paired_table import (
    block_table,
    by_block,
    comparison,
    notes,
    table,
    to_json,
    without_effect,
    write_comparison,
)
from lob_jax.bench.variant import Variant

REFERENCES = {"better": "plain", "same": "plain"}


def result(variant, seed, **figures):
    return {
        "variant": variant,
        "seed": seed,
        "figures": figures,
        "measured": {
            "generated": {
                "figures": {},
                "prompts": 2,
                "events": 50,
                "invalid_events": 1,
                "l1_by_block": {"first_message": [0, 25], "ratio": [1.5, 2.0 + 0.5 * seed * (variant == "better")]},
            }
        },
        "parameters": 900_000 + seed,
        "steps": 300,
        "seconds": {"train": 60.0, "tested": 30.0},
        "machine": "x86_64, 2 cores, one used",
        "versions": {"python": "3.11", "jax": "0.1"},
        "commit": "abc",
    }


@pytest.fixture
def outcomes():
    bits = {
        "plain": (24.0, 24.5, 25.0),
        "better": (23.0, 23.5, 24.0),  # 1 less from each seed
        "same": (24.1, 24.4, 25.0),  # .1 more, .1 less, 0
    }
    f1 = {"plain": 0.4, "better": 0.3, "same": 0.4}
    results = {
        (name, seed): result(name, seed, bits=value, macro_f1=f1[name])
        for name, values in bits.items()
        for seed, value in enumerate(values)
    }
    return Outcomes(results, {("same", 3): "ValueError: it broke"})


def test_what_can_be_detected_is_of_the_pooled_differences(outcomes):
    compared = comparison(outcomes, REFERENCES)
    assert set(compared) == {"bits", "macro_f1"}
    bits = compared["bits"]
    assert bits["deviation"] == pytest.approx(math.sqrt(0.02 / 4)) and bits["degrees"] == pytest.approx(4 / 1.25)
    assert bits["means"] == {"plain": 24.5, "better": 23.5, "same": pytest.approx(24.5)}
    assert bits["differences"]["better"].mean == -1.0
    assert bits["detectable"] == bits["differences"]["same"].detectable == pytest.approx(0.1254, abs=1e-3)


def test_the_table_says_first_what_it_can_detect(outcomes):
    names = ["plain", "better", "same", "absent"]
    head, _, detectable, plain, better, same = table(comparison(outcomes, REFERENCES), outcomes, REFERENCES, names)
    assert [cell.strip() for cell in head.split("|")][3:5] == ["bits per event", "minus reference"]
    assert detectable.startswith("| **smallest detectable difference** |  |  | ±0.125 |  | ±0.0000 |")
    assert plain == "| plain (reference) | 3 | 24.500 |  | 0.4000 |  |"
    assert better == "| better | 3 | 23.500 | **-1.000, better** | 0.3000 | **-0.1000, worse** |"
    assert same == "| same | 3 | 24.500 | +0.000, no verdict | 0.4000 | +0.0000, no verdict |"


def test_generated_flow_is_compared_by_its_distance_from_the_prompt(outcomes):
    blocks = by_block(outcomes, REFERENCES)
    assert list(blocks) == [0, 25] and blocks[25]["means"] == {"plain": 2.0, "better": 2.5, "same": 2.0}
    assert blocks[25]["detectable"] == pytest.approx(blocks[25]["differences"]["better"].detectable)
    head, _, _, plain, better, _ = block_table(blocks, outcomes, REFERENCES, ["plain", "better", "same"])
    assert [cell.strip() for cell in head.split("|")][3::2] == [
        "mean L1 over floor, from message 0",
        "mean L1 over floor, from message 25",
        "",
    ]
    assert plain == "| plain (reference) | 3 | 1.500 |  | 2.000 |  |"
    assert better == "| better | 3 | 1.500 | +0.000, no verdict | 2.500 | +0.500, no verdict |"
    tested = {key: {**one, "measured": {}} for key, one in outcomes.results.items()}
    assert by_block(Outcomes(tested, {}), REFERENCES) == {}


def test_notes_say_what_it_ran_on_and_what_failed(outcomes):
    told = "\n".join(notes(comparison(outcomes, REFERENCES), outcomes, REFERENCES))
    for sentence in (
        "4 differences are tested at 5% each, so that 0.2 would be called",
        "900,000 to 900,002 parameters, 300 steps; 14 core minutes",
        "9 of 900 generated events are invalid",
        "x86_64, 2 cores, one used; python 3.11, jax 0.1; commit abc; ",
        "Failed: same, seed 3: ValueError: it broke",
    ):
        assert sentence in told


def test_what_is_not_defined_is_null_in_the_file(tmp_path):
    outcomes = Outcomes({("plain", 0): result("plain", 0, bits=1.0), ("warp", 0): result("warp", 0, bits=2.0)}, {})
    variants = {"plain": Variant({}, None, "nothing"), "warp": Variant({}, "plain", "time")}
    lines = write_comparison("ablation", outcomes, variants, tmp_path)
    assert "| warp | 1 | 2.000 | +1.000, no verdict |" in lines and "* warp: time." in lines
    assert "±" not in "".join(lines)  # one seed tells nothing about noise
    found = json.loads((tmp_path / "ablation.json").read_text())
    assert (
        found["compared"]["bits"]["detectable"] is None
        and found["compared"]["bits"]["differences"]["warp"]["mean"] == 1
    )
    assert found["l1_by_block"]["25"]["differences"]["warp"]["mean"] == 0
    assert sum("smallest detectable difference**" in line for line in lines) == 2  # of both tables
    assert (tmp_path / "ablation.md").read_text() == "\n".join(lines) + "\n"


def test_no_result_is_no_table():
    outcomes = Outcomes({}, {("plain", 0): "ValueError"})
    compared = comparison(outcomes, {})
    assert compared == {} and to_json(compared, {}, outcomes)["failures"] == [
        {"variant": "plain", "seed": 0, "why": "ValueError"}
    ]
    assert notes(compared, outcomes, {}) == ["Failed: plain, seed 0: ValueError"]


def test_a_variant_that_changes_nothing_is_told(outcomes):
    assert without_effect(outcomes, REFERENCES) == []
    idle = {("idle", seed): outcomes.results["plain", seed] for seed in range(3)}
    idle |= {("once", seed): outcomes.results["plain" if seed < 2 else "same", seed] for seed in (0, 1, 2)}
    both = Outcomes({**outcomes.results, **idle, ("once", 0): outcomes.results["same", 0]}, {})
    references = {**REFERENCES, "idle": "plain", "once": "plain"}
    assert without_effect(both, references) == ["idle"]
    assert "idle has the very figures of plain" in "\n".join(notes(comparison(both, references), both, references))
