"""What is tested of generated flow beside its scores, from scores in contexts and stylised facts to memorisation."""

from collections.abc import Mapping, Sequence
from typing import Any

from lob_jax.evaluation.fidelity.contexts.table import groups_in_words, rows_of
from lob_jax.figures.facts import facts_figure
from lob_jax.report.section import Absent, Cell, Number, Picture, Table, picture, table_of

TESTS = (("beyond", ".1%"), ("p", ".3f"))  # of memorisation, with their forms
SCORES = ("macro_f1", "mcc", "mae")  # of usefulness
NO_TEST = Absent("real flow is the reference")


def _number(value: Any, form: str = ".3f", low: Any = None, high: Any = None) -> Cell:
    return None if value is None else Number(float(value), form, low, high)


def context_tables(result: Mapping[str, Any], models: Sequence[str]) -> list[Table]:
    """Return a table for each flow of the ratios of its scores to their floors, by context; none without a result."""
    found = result.get("contexts")
    if not found:
        return []
    columns = ("score", "anywhere", *(about["label"] for about in found["contexts"].values()))
    groups = "; ".join(groups_in_words(about) for about in found["contexts"].values())
    note = f"Mean over groups of the state before the message, by their shares in real flow. {groups}."
    absent = Absent("a flow or the floor has no values there")
    return [
        table_of(
            f"L1 over its floor, in contexts: {model}",
            columns,
            [
                (label, *(absent if ratio is None else _number(ratio, ".2f") for ratio in ratios))
                for label, ratios in rows_of(result, model)
            ],
            note=note,
        )
        for model in models
    ]


def facts_pictures(result: Mapping[str, Any] | None, *, counts: str) -> list[Picture]:
    """Return the picture of the stylised facts; none without a result."""
    if not result:
        return []
    return [
        picture(
            facts_figure(result, title=counts),
            name="facts",
            alt="A panel for each stylised fact: its figure and interval in real and generated flow, and the verdict",
            caption="Stylised facts of real and generated flow. Shaded: where the fact holds; an interval that contains"
            " its bound leaves the fact undecidable at this sample size.",
        )
    ]


def facts_tables(result: Mapping[str, Any] | None) -> list[Table]:
    """Return a table of the stylised facts: figure, interval and verdict of each flow; none without a result."""
    if not result:
        return []
    flows = result["flows"]
    columns = ["fact", *(heading for name in flows for heading in (name, f"{name}: verdict"))]
    rows = []
    for key, fact in result["facts"].items():
        cells: list[Cell] = [f"{fact['label']} ({fact['figure']})"]
        for flow in flows.values():
            one = flow["facts"][key]
            value = _number(one["value"], low=one["low"], high=one["high"])
            cells += [Absent("too few returns") if value is None else value, one["verdict"]]
        rows.append(cells)
    agree = "; ".join(
        f"{name}: {count} of {len(rows)} verdicts as in real flow" for name, count in result["agree"].items()
    )
    caption = f"Stylised facts, returns over {result['step']} messages"
    return [table_of(caption, columns, rows, note=f"In grey: 95 % intervals. {agree}.")]


def impact_tables(result: Mapping[str, Any] | None) -> list[Table]:
    """Return a table of the scores of the price impact by class of event; none without a result."""
    if not result:
        return []
    rows: list[list[Cell]] = []
    for model, one in result["models"].items():
        for name, score in (one.get("scores") or {}).items():
            value = _number(score.get("value"), low=score.get("low"), high=score.get("high"))
            rows.append([f"{model}: {name}", value, *(_number(score.get(part)) for part in ("half", "floor", "ratio"))])
        macro = (one.get("macro") or {}).get("score")
        rows.append([f"{model}: move by participation, mean difference", _number(macro), *[Absent("has no floor")] * 3])
    caption = "Price impact: differences of the response, summed over lags, ticks"
    return [table_of(caption, ("flow and class", "difference", "of halves", "floor", "ratio"), rows)]


def memorisation_tables(result: Mapping[str, Any] | None) -> list[Table]:
    """Return a table of the longest runs of messages that occur in the training data; none without a result."""
    if not result:
        return []
    rows: list[list[Cell]] = []
    for name, one in result["flows"].items():
        cells = [_number(one.get(part), ".1f") for part in ("mean", "median")]
        tests = [_number(one[part], form) if part in one else NO_TEST for part, form in TESTS]
        rows.append([name, one["sequences"], one["longest"], *cells, _number(one["share"], ".1%"), *tests])
    columns = ("flow", "sequences", "longest", "mean", "median", "share of a sequence", "beyond real", "p")
    caption = f"Runs of messages that occur in the training data ({result['training_messages']:,} messages)"
    return [table_of(caption, columns, rows, note="Longest, mean and median in messages.")]


def discriminator_tables(result: Mapping[str, Any] | None) -> list[Table]:
    """Return a table of how well a classifier tells generated sequences from real ones; none without a result."""
    if not result:
        return []
    rows: list[list[Cell]] = []
    for name, one in result["models"].items():
        why = Absent(one["reason"]) if one["reason"] else None
        auc = why or _number(one["auc"], low=one["low"], high=one["high"])
        figures = [why or _number(one[part]) for part in ("p", "accuracy", "f1")]
        rows.append([name, auc, *figures, "; ".join(feature for feature, _ in one["apart"][:3]) or Absent("nothing")])
    columns = ("flow", "AUC", "p", "accuracy", "F1", "told apart by")
    caption = "Discriminator: can sequences be told from real ones? An AUC of .5 means no"
    note = f"In grey: 95 % bootstrap. p: {result['permutations']:,} permutations of the labels."
    return [table_of(caption, columns, rows, note=note)]


def usefulness_tables(result: Mapping[str, Any] | None) -> list[Table]:
    """Return a table of predictors that were trained on each flow and tested on real flow; none without a result."""
    if not result:
        return []
    rows: list[list[Cell]] = []
    for name, one in result["flows"].items():
        cells: list[Cell] = [
            _number(one[part]["value"], low=one[part]["low"], high=one[part]["high"]) for part in SCORES
        ]
        rows.append([name, *(Absent("too few sequences") if cell is None else cell for cell in cells)])
    columns = ("trained on", "macro F1 of direction", "MCC", "mean absolute error, ticks")
    caption = f"Trained on each flow, tested on real flow, {result['horizon']} messages ahead"
    unchanged = "n/a" if result["unchanged"] is None else f"{result['unchanged']:.3f} ticks"
    note = f"In grey: 95 % bootstrap of sequences. The error of predicting no move is {unchanged}."
    return [table_of(caption, columns, rows, note=note)]


def network_tables(results: Mapping[str, Any]) -> list[Table]:
    """Return a table of each network that was trained on the flows, by the names of `score.networks`."""
    shown = {"discriminator": _network_discriminator, "predictor": _network_predictor}
    return [table(results[name]) for name, table in shown.items() if name in results]


def _network_discriminator(result: Mapping[str, Any]) -> Table:
    rows: list[list[Cell]] = []
    for name, one in result["models"].items():
        why = Absent(one["reason"]) if one["reason"] else None
        auc = why or _number(one["auc"], low=one["low"], high=one["high"])
        figures = [why or _number(one[part]) for part in ("p", "accuracy", "f1")]
        rows.append([name, auc, *figures, one["sequences"]["train"], one["sequences"]["test"]])
    columns = ("flow", "AUC", "p", "accuracy", "F1", "sequences that trained it", "tested")
    caption = "LOB-Bench's discriminator, a network: can sequences be told from real ones? An AUC of .5 means no"
    note = f"In grey: 95 % bootstrap. p: {result['draws']:,} permutations of the tested labels."
    return table_of(caption, columns, rows, note=note)


def _network_predictor(result: Mapping[str, Any]) -> Table:
    rows: list[list[Cell]] = []
    for name, one in result["flows"].items():
        cells = [_number(row["value"], low=row["low"], high=row["high"]) for row in one.values()]
        rows.append([name, *(Absent("too few sequences") if cell is None else cell for cell in cells)])
    columns = ("trained on", *(f"mean absolute error {horizon} ahead, ticks" for horizon in result["horizons"]))
    still = ", ".join("n/a" if value is None else f"{value:.3f}" for value in result["unchanged"])
    note = f"In grey: 95 % bootstrap of sequences. The errors of predicting no move are {still} ticks."
    return table_of("An LSTM trained on each flow, tested on real flow", columns, rows, note=note)
