"""Fidelity: how far generated flow is from real flow, score by score, beside the noise floor of real flow."""

from collections.abc import Mapping, Sequence
from typing import Any

from lob_jax.figures.scores import Against, Bar, against_figure, bar_figure, curve_figure
from lob_jax.report.material import Material
from lob_jax.report.parts.flow_tests import (
    context_tables,
    discriminator_tables,
    facts_pictures,
    facts_tables,
    impact_tables,
    memorisation_tables,
    network_tables,
    usefulness_tables,
)
from lob_jax.report.section import Cell, LeftOut, Number, Picture, Section, Table, picture, table_of

TITLE = "Fidelity of generated flow"
GROUPS = {
    "lob_bench": "LOB-Bench's scores",
    "conditional": "LOB-Bench's conditional scores",
    "lagged": "conditional scores with a lag",
    "further": "further distributions",
}
DISTANCES = {"l1": "L1", "w1": "Wasserstein", "ks": "Kolmogorov-Smirnov"}
MOST_AGAINST = 60  # figures of measures in one picture
READING = (
    "A distance between generated and real flow means nothing by itself: two halves of the same real flow differ, too."
    " The floor is the mean distance of such halves at the same number and length of sequences; a ratio of 1 means that"
    " generated flow is as close to real flow as real flow is to itself. L1 is half the sum of absolute differences of"
    " the shares per bin, from 0 (equal) to 1 (disjoint)."
)
NAN = float("nan")


def fidelity(material: Material) -> Section | LeftOut:
    """Return the section about the fidelity of generated flow."""
    result = material.get("fidelity.json") or material.get("score.json")
    if result is None:
        return LeftOut(TITLE, f"{material.missing['fidelity.json']}; {material.missing['score.json']}")
    return fidelity_section(result)


def fidelity_section(result: Mapping[str, Any]) -> Section:
    """Return the section of one result of `fidelity.assess.assess`."""
    models = model_names(result)
    tables = [_flows(result), _summary(result, models)] if "flows" in result else []
    scores = {**result.get("scores", {}), **result.get("conditional", {})}
    pictures: list[Picture] = []
    for group, label in GROUPS.items():
        mine = {name: one for name, one in scores.items() if one.get("group", "conditional") == group}
        if not mine:
            continue
        pictures.append(_bars(mine, models, label=label, key=group, counts=_counts(result)))
        tables += [_scores(mine, model, label=label) for model in models]
    tables += context_tables(result, models)
    if any(one["first_message"] for one in (result.get("divergence") or {}).values()):
        pictures.append(_divergence(result["divergence"], counts=_counts(result)))
    measures = result.get("measures") or {}
    if measures.get("measures"):
        pictures += _against(measures, models, counts=_counts(result))
        tables += [_measures(measures, model) for model in models]
    pictures += facts_pictures(result.get("facts"), counts=_counts(result))
    tables += facts_tables(result.get("facts")) + impact_tables(result.get("impact"))
    tables += discriminator_tables(result.get("discriminator")) + usefulness_tables(result.get("usefulness"))
    tables += network_tables(result.get("networks") or {})
    tables += memorisation_tables(result.get("memorisation"))
    return Section(TITLE, (READING, *_how(result)), tuple(tables), tuple(pictures))


def _how(result: Mapping[str, Any]) -> tuple[str, ...]:
    if "splits" not in result:
        return ()
    return (
        f"Computed by lob_jax {result['package']}: {result['splits']} splits into halves, {result['resamples']}"
        f" bootstrap resamples of whole sequences, blocks of {result['block']} messages, seed {result['seed']}.",
    )


def model_names(result: Mapping[str, Any]) -> list[str]:
    """Return the names of the generated flows of a comparison, in order."""
    return list((result.get("summary") or {}).get("lob_bench") or _any_models(result))


def _any_models(result: Mapping[str, Any]) -> list[str]:
    found = [model for one in result.get("scores", {}).values() for model in one.get("models", {})]
    return list(dict.fromkeys(found))


def headline(result: Mapping[str, Any], model: str, distance: str = "l1") -> Mapping[str, Any]:
    """Return the summary over LOB-Bench's scores of a model: mean, floor and ratio; empty if there is none."""
    group = (result.get("summary") or {}).get("lob_bench") or {}
    return (group.get(model) or {}).get(distance) or {}


def _counts(result: Mapping[str, Any]) -> str:
    real = result.get("flows", {}).get("real")
    return "" if real is None else f"n = {real['sequences']:,} real sequences, {real['messages']:,} messages"


def _flows(result: Mapping[str, Any]) -> Table:
    rows = [
        (name, one.get("sequences"), one.get("messages"), one.get("levels"), *_lengths(one))
        for name, one in result["flows"].items()
    ]
    columns = ("flow", "sequences", "messages", "levels per side", "shortest", "median", "longest")
    return table_of("Flows, and messages per sequence", columns, rows)


def _lengths(flow: Mapping[str, Any]) -> list[Cell]:
    lengths = flow.get("messages_per_sequence") or {}
    return [lengths.get(name) for name in ("min", "median", "max")]


def _summary(result: Mapping[str, Any], models: Sequence[str]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for group, of_models in result.get("summary", {}).items():
        for model in models:
            for distance, label in DISTANCES.items():
                one = (of_models.get(model) or {}).get(distance)
                if one:
                    row = f"{GROUPS.get(group, group)}: {model}, {label}"
                    parts = (number(one.get(name)) for name in ("mean", "median", "iqm", "half", "floor", "ratio"))
                    rows.append((row, one.get("scores"), *parts))
    columns = ("scores, flow and distance", "scores", "mean", "median", "IQM", "mean of halves", "floor", "ratio")
    note = "In grey: 99 % intervals. Ratio: the mean over halves of generated v real, divided by the floor."
    return table_of("Summary over scores", columns, rows, note=note)


def number(value: Any) -> Cell:
    """Return a figure of a comparison as a cell: a number, or a dict with value, low and high."""
    if isinstance(value, Mapping):
        if value.get("value") is None:
            return None
        return Number(float(value["value"]), ".3f", value.get("low"), value.get("high"))
    return None if value is None else Number(float(value), ".3f")


def _of(one: Mapping[str, Any], model: str, distance: str = "l1") -> Mapping[str, Any]:
    return (one.get("models", {}).get(model) or {}).get(distance) or {}


def _scores(scores: Mapping[str, Mapping[str, Any]], model: str, *, label: str) -> Table:
    rows = []
    for name, one in scores.items():
        l1 = _of(one, model)
        floor = {"value": l1.get("floor"), "low": l1.get("floor_low"), "high": l1.get("floor_high")}
        ratios = (number(_of(one, model, distance).get("ratio")) for distance in DISTANCES)
        rows.append((one.get("label", name), number(l1), number(l1.get("half")), number(floor), *ratios))
    columns = ("score", "L1", "L1 of halves", "floor", "ratio", "ratio, Wasserstein", "ratio, KS")
    return table_of(f"{label[:1].upper()}{label[1:]}: {model}", columns, rows)


def _bars(
    scores: Mapping[str, Mapping[str, Any]], models: Sequence[str], *, label: str, key: str, counts: str
) -> Picture:
    rows = {
        one.get("label", name): {model: Bar(_known(_of(one, model).get("half"))) for model in models}
        for name, one in scores.items()
    }
    floors = {one.get("label", name): _floor(one, models) for name, one in scores.items()}
    figure = bar_figure(
        rows,
        floors=floors,
        unit="L1 distance between a half of real and a half of generated flow (0: equal, 1: disjoint)",
        title=f"{label[:1].upper()}{label[1:]}: {counts}",
    )
    return picture(
        figure,
        name=f"scores_{key}",
        alt=f"Horizontal bars of {label}: L1 distance per score and flow, with the noise floor as a line",
        caption="L1 distance of each score, at half the sequences; the black line is the floor, real against real.",
    )


def _floor(one: Mapping[str, Any], models: Sequence[str]) -> float:
    floors = [_of(one, model).get("floor") for model in models]
    known = [float(floor) for floor in floors if floor is not None]
    return known[0] if known else NAN


def _known(value: Any) -> float:
    return NAN if value is None else float(value)


def _divergence(divergence: Mapping[str, Mapping[str, Any]], *, counts: str) -> Picture:
    curves: dict[str, dict[str, list[float]]] = {}
    for model, one in divergence.items():
        curves[model] = {"at": one["first_message"], "value": [_known(value) for value in one["half"]]}
    first = next(iter(divergence.values()))
    floor = {"at": first["first_message"], "value": [_known(value) for value in first["floor"]]}
    curves["floor: real against real"] = floor
    figure = curve_figure(
        curves,
        horizon="first message of the block, counted from the prompt",
        unit="mean L1 over the scores",
        title=f"Divergence by horizon: {counts}",
    )
    return picture(
        figure,
        name="divergence",
        alt="Curves of the mean L1 distance by block of messages since the prompt, with the floor",
        caption="How generated flow drifts from real flow with the distance from the prompt.",
    )


def _each_figure(measures: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [
        (f"{one['label']}: {label}", figure)
        for one in measures["measures"].values()
        for label, figure in one["figures"].items()
    ]


def _against(measures: Mapping[str, Any], models: Sequence[str], *, counts: str) -> list[Picture]:
    """Return pictures of the measures' figures in half-widths of the real range, so many to each."""
    rows = []
    for label, figure in _each_figure(measures):
        ranges = [
            one for one in figure["models"].values() if one.get("low") is not None and one.get("high") is not None
        ]
        if ranges and figure["real"] is not None and ranges[0]["high"] > ranges[0]["low"]:
            values = {model: _known((figure["models"].get(model) or {}).get("value")) for model in models}
            rows.append(Against(label, figure["real"], ranges[0]["low"], ranges[0]["high"], values))
    parts = [rows[first : first + MOST_AGAINST] for first in range(0, len(rows), MOST_AGAINST)]
    return [
        picture(
            against_figure(part, title=f"{len(rows)} figures of measures: {counts}"),
            name=f"measures_{k + 1}",
            alt="Dots: measures of generated flow, in half-widths of the 95 % range of real flow",
            caption="Dots inside the grey band are within the range of real flow.",
        )
        for k, part in enumerate(parts)
    ]


def _measures(measures: Mapping[str, Any], model: str) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for label, figure in _each_figure(measures):
        one = figure["models"].get(model) or {}
        inside = one.get("inside")
        verdict = "undecided" if inside is None else "inside" if inside else "outside"
        values = (one.get("value"), figure["real"], one.get("low"), one.get("high"), one.get("p"))
        rows.append((label, *map(_plain, values), verdict))
    for one in measures["measures"].values():
        apart = (one.get("distance") or {}).get(model)
        if apart:
            inside = apart.get("inside")
            verdict = "undecided" if inside is None else "inside" if inside else "outside"
            values = (apart.get("value"), apart.get("floor"), 0, apart.get("floor_high"), apart.get("p"))
            rows.append((f"{one['label']}: distance (real: floor)", *map(_plain, values), verdict))
    counts = (measures.get("summary") or {}).get(model, {})
    outside = f": {counts['outside']} of {counts['figures']} figures outside" if "outside" in counts else ""
    columns = ("measure", "generated", "real", "low", "high", "p", "in the 95 % range")
    return table_of(f"Measures of {model}{outside}", columns, rows)


def _plain(value: Any) -> Cell:
    return None if value is None else float(value)
