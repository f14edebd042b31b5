"""Results of an imaginary run, as its folder holds them, small and with every kind of value."""

import copy
import io

import numpy as np
from PIL import Image

from lob_jax.config import sections
from lob_jax.configs import tiny
from lob_jax.evaluation.fidelity.facts import FAILS, HOLDS, UNDECIDED
from lob_jax.report.material import Material
from lob_jax.report.section import GIF, PNG, Picture


def metrics(bits, *, interval=True):
    """Return the likelihood of one model."""
    found = {
        "events": 1200, "tokens": 5000, "bits_per_event": bits, "bits_per_event_without_gap_digits": bits - 9,
        "bits_by_part": {"head": 7.0, "size": 3.5, "gap": bits - 19.5, "gap_digits": 9.0}, "loss": 4.9,
        "perplexity": 134.3, "token_accuracy": 0.14, "event_accuracy": 0.84, "head_accuracy": 0.4,
        "head_majority": 0.47,
    }  # fmt: skip
    return found | ({"intervals": {"bits_per_event": [bits - 0.2, bits + 0.3]}} if interval else {})


def reliability():
    return {"count": 1200, "ece": 0.01, "ece_by_chance": 0.008, "rms_debiased": 0.006, "probability": [0.1, 0.9],
            "frequency": [0.12, 0.88], "counts": [600, 600]}  # fmt: skip


def evaluation():
    """Return an evaluation.json."""
    direction = {
        "events": 500, "shares": {"down": 0.05, "flat": 0.9, "up": 0.05}, "balanced_floor": 1 / 3,
        "majority_accuracy": 0.9, "log_loss": 0.4, "prior_log_loss": 0.42, "accuracy": 0.9, "balanced_accuracy": 0.5,
        "macro_f1": 0.45, "corrected": {"balanced_accuracy": 0.52},
    }  # fmt: skip
    return {
        "split": "test",
        "context": 256,
        "likelihood": {
            "model": metrics(28.0) | {"outside_grammar": 0.002},
            "model_grammar": metrics(27.9),
            "zero_order": metrics(29.2),
            "ngram": metrics(28.4),
        },
        "differences": {
            "model": {
                "zero_order": {"bits_per_event": [-1.2, -1.3, -1.1]},
                "ngram": {"bits_per_event": [-0.4, -0.5, -0.3]},
            }
        },
        "calibration": {
            "model": {
                "all": reliability(),
                "head": reliability(),
                "kinds": {"ece": 0.01, "by_kind": {"add": reliability()}},
            }
        },
        "bootstrap": {"method": "circular blocks of events", "block_events": 40, "resamples": 1000, "level": 0.95},
        "ngram": {"head": {"lengths": [0, 1]}},
        "direction": {"model": direction, "state_table": direction | {"macro_f1": float("nan")}},
        "audit": [
            {"check": "no window crosses splits", "leak": None, "unchecked": None},
            {"check": "bins are of training days", "leak": None, "unchecked": "no bins"},
        ],
        "volatility": {"10": {"mae": 0.25, "note": "<b>not bold</b>"}},
    }


def distance(value, floor=0.1):
    """Return one distance of a comparison."""
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "half": value + 0.02, "floor": floor,
            "floor_low": floor - 0.02, "floor_high": floor + 0.02, "ratio": (value + 0.02) / floor}  # fmt: skip


def undefined():
    return dict.fromkeys(distance(0.1))


def score(label, group, values):
    """Return one score by flow; None for one that is not defined."""
    of = {
        name: {"n_real": 100, "n_generated": 90, "reason": None if value is not None else "no cancels"}
        | {kind: undefined() if value is None else distance(value) for kind in ("l1", "w1", "ks")}
        for name, value in values.items()
    }
    return {"label": label, "unit": "ticks", "group": group, "version": 1, "discrete": False, "models": of}


def summary(value):
    mean = {"value": value, "low": value - 0.01, "high": value + 0.01}
    return {"scores": 21, "mean": mean, "median": mean, "iqm": mean, "half": value, "floor": 0.1, "ratio": value / 0.1}


def contexts():
    """Return the scores of `fidelity` in two contexts."""

    def of(**values):
        return score("", "", values)["models"]

    about = {
        "time": {"label": "time of day", "groups": 2, "edges": {"time": {"unit": "ns", "at": [52_200 * 10**9]}}},
        "spread": {"label": "spread", "groups": 3, "edges": {"spread": {"unit": "ticks", "at": [1.0, 3.5]}}},
    }
    by_score = {"spread": (of(model=0.2, cst=0.5), of(model=0.1, cst=None)), "cancels": (of(model=0.4, cst=None),) * 2}
    labels = {"spread": "spread", "cancels": "cancellation depth, ask"}
    means = {name: dict.fromkeys(("l1", "w1", "ks"), summary(value)) for name, value in (("model", 0.3), ("cst", 0.5))}
    return {
        "splits": 50, "resamples": 100, "seed": 0, "contexts": about, "summary": dict.fromkeys(about, means),
        "scores": {name: {"label": labels[name], "contexts": dict(zip(about, found, strict=True))}
                   for name, found in by_score.items()},
    }  # fmt: skip


def facts():
    """Return stylised facts with every verdict, an open bound on either side, and figures that are not defined."""
    about = {
        "skew": {"label": "gain/loss asymmetry", "figure": "skewness", "low": None, "high": 0.0},
        "tails": {"label": "heavy tails", "figure": "kurtosis", "low": 0.5, "high": None},
        "decay": {"label": "slow decay", "figure": "exponent", "low": 0.0, "high": 1.0},
    }
    one, unknown = {"value": 0.1, "low": 0.0, "high": 0.2}, dict.fromkeys(("value", "low", "high"))
    holds, fails, undecided = ({"verdict": verdict} for verdict in (HOLDS, FAILS, UNDECIDED))
    real = {"skew": one | fails, "tails": one | holds, "decay": one | undecided}
    model = {
        "skew": unknown | undecided,
        "tails": {"value": 900.0, "low": 0.1, "high": 1500.0} | undecided,
        "decay": unknown | {"value": 0.4} | undecided,
    }
    flows = {"real": real, "model": model}
    return {
        "step": 10, "draws": 100, "seed": 0, "facts": about, "agree": {"model": 1},
        "flows": {name: {"step": 10, "returns": 500, "blocks": 10, "facts": of} for name, of in flows.items()},
    }  # fmt: skip


def fault_matrix():
    """Return a faults.json: a row that detects one of two faults, one that detects none, and one without values."""

    def found(*power, smallest=None):
        return {"power": list(power), "smallest": smallest}

    def row(name, group, **faults):
        return {"name": name, "label": name, "group": group, "statistics": {"l1": faults}}

    missed, unknown = found(0.1, 0.3), found(None, None)
    rows = [
        row("spread", "lob_bench", nothing=found(0.05, 0.04), tick=found(0.4, 0.9, smallest=8), copies=missed),
        row("sizes", "further", nothing=found(0.04, 0.06), tick=missed, copies=missed),
        row("rank", "measures", nothing=unknown, tick=unknown, copies=unknown),
    ]
    faults = [{"name": "tick", "label": "wrong tick", "changes": "messages and books"},
              {"name": "copies", "label": "training copied", "changes": "messages"}]  # fmt: skip
    return {"counts": [4, 8], "draws": 200, "seed": 0, "sequences": 40, "messages": 20_000, "levels": 5,
            "false_alarms": 0.05, "power": 0.8, "faults": faults, "rows": rows}  # fmt: skip


def fidelity():
    """Return a fidelity.json with two flows."""
    measure = {
        "label": "kinds", "unit": "", "version": 1,
        "figures": {"share of ADD": {"real": 0.5, "models": {
            "model": {"value": 0.7, "low": 0.45, "high": 0.55, "inside": False, "p": 0.01},
            "cst": {"value": None, "low": None, "high": None, "inside": None, "p": None}}}},
        "distance": {"model": {"value": 0.2, "floor": 0.05, "floor_high": 0.08, "ratio": 4.0, "inside": False},
                     "cst": dict.fromkeys(("value", "floor", "floor_high", "ratio", "inside"))},
    }  # fmt: skip
    about = {
        "sequences": 10,
        "messages": 5000,
        "levels": 5,
        "messages_per_sequence": {"min": 500, "median": 500, "max": 500},
    }
    by_flow = {"model": summary(0.21), "cst": summary(0.4)}
    return {
        "package": "0.2.0", "splits": 50, "resamples": 100, "block": 100, "seed": 0,
        "flows": {"real": about, "model": about, "cst": about},
        "scores": {
            "spread": score("spread", "lob_bench", {"model": 0.2, "cst": 0.4}),
            "cancels": score("cancellation depth, ask", "lob_bench", {"model": 0.3, "cst": None}),
            "moves": score("mid moves", "further", {"model": 0.1, "cst": 0.5}),
        },
        "conditional": {"ask_by_spread": score("ask size by spread", "conditional", {"model": 0.2, "cst": 0.3})},
        "summary": {"lob_bench": {name: dict.fromkeys(("l1", "w1", "ks"), one) for name, one in by_flow.items()}},
        "divergence": {
            name: {"first_message": [0, 100], "scores": 21, "value": [0.1, 0.2], "half": [0.1, 0.25],
                   "floor": [0.1, None], "floor_high": [0.12, 0.12], "ratio": [1.0, 2.5]}
            for name in by_flow
        },
        "measures": {"splits": 50, "seed": 0, "coverage": 0.95, "measures": {"kinds": measure},
                     "summary": {"model": {"figures": 1, "outside": 1}, "cst": {"figures": 0, "outside": 0}}},
        "contexts": contexts(),
        "facts": facts(),
        "impact": {"models": {"model": {"scores": {"MO_0": distance(1.0, 0.4)}, "macro": {"score": None}}}},
        "discriminator": {"permutations": 99, "folds": 5, "confidence": 0.95, "seed": 0, "models": {
            "model": {"reason": None, "sequences": [10, 10], "features": 220, "auc": 0.9, "low": 0.8, "high": 0.97,
                      "p": 0.01, "accuracy": 0.8, "f1": 0.81, "apart": [["mean spread", 0.93]]},
            "cst": {"reason": "fewer than 10 sequences", "sequences": [10, 4], "features": 0, "auc": None, "low": None,
                    "high": None, "p": None, "accuracy": None, "f1": None, "apart": []}}},
        "usefulness": {"horizon": 100, "examples": 5000, "unchanged": 2.3, "flows": {
            "real": {part: {"value": 0.5, "low": 0.4, "high": 0.6} for part in ("macro_f1", "mcc", "mae")},
            "model": {part: {"value": None, "low": None, "high": None} for part in ("macro_f1", "mcc", "mae")}}},
        "networks": {
            "discriminator": {"confidence": 0.95, "draws": 999, "seed": 0, "models": {"model": {
                "reason": None, "sequences": {"train": 10, "validation": 5, "test": 5}, "auc": 0.7, "low": 0.5,
                "high": 0.9, "p": 0.04, "accuracy": 0.6, "f1": 0.6}}},
            "predictor": {"horizons": [1, 10], "unchanged": [0.4, None], "confidence": 0.95, "flows": {
                "real": {key: {"value": 0.3, "low": 0.2, "high": 0.4} for key in ("1", "10")},
                "model": {key: {"value": None, "low": None, "high": None} for key in ("1", "10")}}}},
        "memorisation": {"training_messages": 9000, "flows": {
            "real": {"sequences": 10, "longest": 7, "mean": 4.5, "median": 4.0, "share": 0.01},
            "model": {"sequences": 10, "longest": 9, "mean": 5.5, "median": 5.0, "share": 0.02, "beyond": 0.1,
                      "p": 0.2}}},
    }  # fmt: skip


def forecast():
    """Return a forecast.json."""
    scores = {
        name: {"mean": 0.3, "low": 0.2, "high": 0.4, "std": 0.0} for name in ("mcc", "macro_f1", "log_loss", "accuracy")
    }
    return {
        "horizons": [10, 50], "examples": {"train": 900, "validation": 100, "test": 200}, "blocks": 8,
        "block_events": 500, "draws": 1000, "scores": {"transformer": [scores, scores], "prior": [scores, scores]},
    }  # fmt: skip


def manifest():
    """Return a records.json."""
    splits = {name: {"events": 1200, "records": 2, "tokens": 5000} for name in ("train", "validation", "test")}
    day = {"symbol": "SYN", "trading_day": "2024-01-02", "parts": [{"split": "train", "events": 1200}],
           "report": {"rows_read": 3600, "rows_dropped": {"bad <price>": 2}}}  # fmt: skip
    inputs = {"feed": "synthetic", "parameters": {"rate": list(range(60))}}
    return {"version": "0.1.0", "fingerprint": {"days": ["SYN 2024-01-02"], "embargo_events": 160, "inputs": inputs},
            "splits": splits, "days": [day]}  # fmt: skip


def lines():
    """Return the lines of a metrics.jsonl."""
    steps = [
        {"step": k, "loss": 6.0 - k, "learning_rate": 0.01, "skipped": 0, "speed": {"step_s": 0.4}} for k in (1, 2)
    ]
    return [*steps, {"step": 2, "validation_loss": 4.1}]


def image(name, kind=PNG, frames=1):
    """Return a picture of a few grey squares."""
    data = io.BytesIO()
    squares = [Image.fromarray(np.full((40, 60), 60 * k, np.uint8)) for k in range(1, frames + 1)]
    more = {"save_all": True, "append_images": squares[1:]} if frames > 1 else {}
    squares[0].save(data, format="GIF" if kind == GIF else "PNG", **more)
    return Picture(name, data.getvalue(), kind, f"grey squares of {name}", f"{name}: <squares>")


def generated():
    """Return the newest generated result."""
    paths = {name: [[1.0, 2.0], [1.5, None]] for name in ("mid", "spread", "volume", "volatility")}
    levels = {name: [[None] * 5, [None] * 5] for name in paths}
    scores = {
        "crps": [0.5, None],
        "energy": 1.0,
        "skill": [0.1, None],
        "pit_p": [0.5, None],
        "coverage": {"0.5": [{"share": 0.4, "low": 0.3, "high": 0.5}, None]},
    }
    walk = {"crps": [{"difference": -0.1, "p": 0.04}, None], "energy": None}
    forecasts = {"events": {"by": "events", "horizons": [10, 50], "prompts": [24, 24], "paths": 4,
                            "forecasts": {"paths": scores, "random walk": scores}, "against": {"random walk": walk}},
                 "seconds": None, "heads": None}  # fmt: skip
    return {"name": "001", "forecasts.json": forecasts, "resting_orders.json": order_scores(),
            "settings.json": {**sections.plain(tiny.get_config())["generate"], "orders": ["buy 5 at 100 after 3"],
                              "paths": 2, "events": 200, "name": "", "step": 3, "validation_loss": 4.9},
            "forecast.json": {"by": "events", "moment": [0.0, 200.0], "quantile": [0.05, 0.25, 0.5, 0.75, 0.95],
                              "paths": [2, 1], **levels, "each_path": paths}}  # fmt: skip


def order_scores():
    """Return an resting_orders.json: two horizons in events, none in seconds, and a bucket without orders."""
    names = ("paths", "climatology", "overall rate", "random walk")

    def of(*forecasts, skill):
        scores = {"mean": [0.02, 0.1], "brier": [0.03, 0.09], "log": [0.11, 0.31]}
        return {"happened": [0.03, 0.12], "forecasts": dict.fromkeys(forecasts, scores),
                "skill": {name: [None, skill] for name in forecasts[1:]}}  # fmt: skip

    def bucket(skill):
        return {"first fill": of(*names, skill=skill), "full fill": of(*names, skill=skill),
                "cancel": of(*names[:3], skill=skill)}  # fmt: skip

    bins = {"orders": [90, 10], "probability": [0.0, 0.2], "frequency": [0.01, 0.3], "low": [0.0, 0.1],
            "high": [0.02, 0.5], "calibrated": [0.02, None]}  # fmt: skip
    skill = {"value": 0.1, "low": -0.1, "high": 0.2}
    buckets = {name: bucket(skill) for name in ("all", "at best", "1 to 5 ticks")} | {"deeper": bucket(None)}
    one, no = {"orders": 40, "counts": [4] * 10, "p": 0.5}, {"orders": 0, "counts": [0] * 10, "p": None}
    times = {"first fill": one, "first fill, if it comes": no, "cancel": one, "cancel, if it comes": one}
    outcomes = ("first fill", "full fill", "cancel")
    events = {"horizons": [10, 50], "prompts": [24, 24], "orders": [100, 100], "buckets": buckets,
              "reliability": {name: [bins, bins] for name in outcomes}}  # fmt: skip
    return {"prompts": 24, "orders": 100, "paths": 4, "without_id": 9, "same_queue": 0.9, "block": 3,
            "ruled": {"first fill": 0.99, "full fill": 0.98, "cancel": 0.95, "lost from view": 1.0},
            "lost": {"paths": 0.05, "real": 0.1}, "events": events, "seconds": None,
            "time": dict.fromkeys(("all", "at best", "1 to 5 ticks", "deeper"), times),
            "training": {"moments": 50, "orders": 900, "digest": "a"}}  # fmt: skip


def material():
    """Return everything that a report can show."""
    found = {
        "config.json": {"version": "0.1.0", **sections.plain(tiny.get_config())},
        "records/records.json": manifest(),
        "metrics.jsonl": lines(),
        "evaluation.json": evaluation(),
        "fidelity.json": fidelity(),
        "forecast.json": forecast(),
        "faults.json": fault_matrix(),
    }
    names = ("attention", "attention_head", "vocabulary", "depth", "trades", "fan")
    pictures = {name: image(name) for name in names} | {"ladder_real": image("ladder_real", GIF, frames=3)}
    missing = {"score.json": "score.json does not exist"}
    return Material("sample", copy.deepcopy(found), missing, generated=generated(), pictures=pictures)
