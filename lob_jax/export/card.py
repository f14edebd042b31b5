"""The model card of a bundle: what the model is, what it was fitted to, how well it does, and what it is not for."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

BITS = "bits_per_event"
NAMES = {
    "model": "the model",
    "model_grammar": "the model, in the grammar",
    "zero_order": "zero-order frequencies",
    "ngram": "n-gram",
    "book_counts": "book counts",
}
PARTS = ("head", "size", "rank", "gap", "gap_digits")  # of an event, whose bits add up
USES = "Research on order flow: likelihoods of real events, and simulated continuations of a real book."
LIMITS = (
    "It is not for trading decisions: no figure here says that they would pay, after costs or before.",
    "It is not a market that reacts to you as a real one would: it has seen no orders like yours with their effects.",
    "It is not for another instrument, venue, period or feed than those below, unless it is evaluated on them first.",
    "It is not for sharing generated flow as real market data; such flow is to be marked as simulated.",
)
CODE_LICENCE = "Apache-2.0"
SIMULATED = "The data are simulated by lob_jax; nobody else has rights in them."
MARKET = (
    "The data are market data of their venue or vendor, whose licence may also cover what is derived from them: the"
    " weights, the bins of the vocabulary, the largest sizes, and the levels that came into view, all of which this"
    " folder has. It has no events of the data. Whether the folder may be passed on is for that licence to say."
)
LOADING = (
    "from lob_jax.export.bundle import open_bundle\n\n"
    'bundle = open_bundle("the folder")  # verifies every file\n'
    "print(bundle.fingerprint, bundle.model, bundle.graphs)\n"
)


def make_card(
    *,
    title: str,
    model: Mapping[str, Any],
    parameters: int,
    vocabulary: Mapping[str, Any],
    training: Mapping[str, Any],
    data: Mapping[str, Any],
    versions: Mapping[str, str],
    evaluation: Mapping[str, Any] | None = None,
    validity: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a model card as plain JSON values.

    Args:
      title: its title.
      model, parameters: the model's configuration, and number of parameters.
      vocabulary: "tokenizer", "time_digits", "references" and "hash".
      training: "step" and "validation_loss" of the checkpoint.
      data: "feed", "days", "splits" (events and tokens of each) and "fingerprint", see `data.records.manifest`.
      versions: of the packages that trained it.
      evaluation: the content of evaluation.json; None if the run has not been evaluated.
      validity: of generated events: number of "events" and "faults", and "paths"; None if they were not counted.
    """
    tested = None if evaluation is None else evaluation_of(evaluation)
    simulated = data["feed"] == "synthetic"
    return {
        "title": title,
        "use": USES,
        "limits": list(LIMITS),
        "falls_short": shortfalls(tested, validity, simulated=simulated),
        "model": dict(model),
        "parameters": parameters,
        "vocabulary": dict(vocabulary),
        "training": dict(training),
        "data": {**data, "simulated": simulated, "sha256": _hash(data["fingerprint"])},
        "evaluation": tested,
        "validity": None if validity is None else dict(validity),
        "licence": {"code": CODE_LICENCE, "data": SIMULATED if simulated else MARKET},
        "versions": dict(versions),
        "loading": LOADING,
    }


def evaluation_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a card says of evaluation.json: bits per event of all models, and the model's difference to each.

    Each is [value, low, high] with its interval, [value, None, None] without one. "parts" has the differences in the
    parts of an event. "in_book" is the same where all are
    restricted to what the book allows, if the evaluation has it. A model of masked tokens has no bits, but a loss.
    """
    differences, models = result.get("differences") or {}, result.get("likelihood") or {}
    tested = {
        "split": result.get("split", "test"),
        "events": next((one["events"] for one in models.values()), None),
        "interval": (result.get("bootstrap") or {}).get("level"),
        **_compared(models, differences.get("model") or {}),
        "in_book": _compared(result.get("in_book") or {}, differences.get("in_book") or {}),
    }
    return tested if models else {**tested, "loss": (result.get("model") or {}).get("loss")}


def _compared(models: Mapping[str, Any], differences: Mapping[str, Any]) -> dict[str, Any]:
    intervals = {name: (one.get("intervals") or {}).get(BITS) or (None, None) for name, one in models.items()}
    return {
        BITS: {name: [one[BITS], *intervals[name]] for name, one in models.items()},
        "differences": {name: list(one[BITS]) for name, one in differences.items() if BITS in one},
        "parts": {name: {part: list(one[part]) for part in PARTS if part in one} for name, one in differences.items()},
    }


def shortfalls(tested: Mapping[str, Any] | None, validity: Mapping[str, Any] | None, *, simulated: bool) -> list[str]:
    """Return sentences about what falls short, or is unknown."""
    found = []
    if simulated:
        found.append("It was fitted to simulated data: it says nothing about a real market.")
    if tested is None:
        found.append("It has not been evaluated: how well it predicts is unknown.")
    elif not tested[BITS]:
        found.append("It predicts masked tokens, so it has no likelihood of events, and cannot generate any.")
    else:
        better = "It is not better than this baseline by more than chance explains"
        found += [f"{better}: {NAMES.get(name, name)}." for name in _unbeaten(tested)]
        found += [f"{better}, in the book: {NAMES.get(name, name)}." for name in _unbeaten(tested["in_book"])]
        found += _worse_parts(tested["parts"])
    if validity is None:
        found.append("How many of its generated events are valid has not been counted for this card.")
    elif validity["faults"]:
        found.append(f"{validity['faults']:,} of {validity['events']:,} generated events are invalid.")
    return found


def _unbeaten(compared: Mapping[str, Any]) -> list[str]:
    """Return the baselines from which the model's difference may be chance, or is against it."""
    bits, differences = compared[BITS], compared["differences"]
    found = []
    for name in bits:
        if not name.startswith("model"):
            difference, _, high = differences.get(name) or (bits["model"][0] - bits[name][0], None, None)
            if not (difference if high is None else high) < 0:
                found.append(name)
    return found


def _worse_parts(parts: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """Return a sentence for each part of events that a baseline predicts better by more than chance explains."""
    return [
        f"Of the {part.replace('_', ' ')} alone it needs {value:.3f} bits per event more than {NAMES.get(name, name)}."
        for name, one in parts.items()
        for part, (value, low, _) in one.items()
        if low > 0
    ]


def card_text(card: Mapping[str, Any]) -> str:
    """Return a card as Markdown."""
    model, data, vocabulary = card["model"], card["data"], card["vocabulary"]
    size = f"{card['parameters']:,} parameters, {model['n_layers']} layers, width {model['d_model']}"
    loss = card["training"]["validation_loss"]
    loss = "" if loss is None else f", validation loss {loss:.4f} nats per token"
    parts = [
        f"# {_inline(card['title'])}",
        f"A transformer that predicts the next token of limit-order-book events: {size}, a context of"
        f" {model['max_seq_length']:,} tokens, {model['dtype']}. Tokens: {_inline(vocabulary['tokenizer'])}, vocabulary"
        f" `{vocabulary['hash']}`. Checkpoint of step {card['training']['step']:,}{loss}.",
        f"## Use\n\n{card['use']}",
        f"## Limits\n\n{_listed(card['limits'])}",
        f"## What falls short\n\n{_listed(card['falls_short']) or 'Nothing that was measured.'}",
        f"## Data\n\nFeed: {_inline(data['feed'])}. Days: {_inline(', '.join(data['days']))}. Fingerprint of the"
        f" records: SHA-256 `{data['sha256']}`.\n\n{_splits(data['splits'])}",
        f"## Evaluation\n\n{_evaluation(card['evaluation'])}",
        f"## Validity\n\n{_validity(card['validity'])}",
        *([f"## Graphs\n\n{_graphs(card['graphs'])}"] if card.get("graphs") else []),
        f"## Licence\n\nThe code: {card['licence']['code']}. {card['licence']['data']}",
        f"## Versions\n\n{_listed(f'{name} {number}' for name, number in card['versions'].items())}",
        f"## Loading\n\n```python\n{card['loading']}```",
    ]
    return "\n\n".join(parts) + "\n"


def _evaluation(tested: Mapping[str, Any] | None) -> str:
    if tested is None:
        return "None yet: `--mode=evaluate` writes it."
    if not tested[BITS]:
        return f"Masked tokens of the {tested['split']} split: loss {_number(tested['loss'])} nats per token."
    level = tested["interval"]
    lead = f"Bits per event on the {tested['split']} split, {tested['events']:,} events; fewer is better."
    lead += f" In parentheses: {level:.0%} intervals." if level is not None else ""
    parts = [lead, _table(tested)]
    if tested["in_book"][BITS]:
        parts += ["The same where all are restricted to the tokens that the book allows:", _table(tested["in_book"])]
    return "\n\n".join(parts)


def _table(compared: Mapping[str, Any]) -> str:
    rows = ["| | bits per event | the model's difference |", "|---|---|---|"]
    for name, bits in compared[BITS].items():
        difference = compared["differences"].get(name)
        rows.append(
            f"| {_inline(NAMES.get(name, name))} | {_triple(bits)} | {_triple(difference) if difference else ''} |"
        )
    return "\n".join(rows)


def _validity(validity: Mapping[str, Any] | None) -> str:
    if validity is None:
        return "Not counted: `--mode=generate` replays each path, and reports invalid events."
    counts = f"{validity['faults']:,} of {validity['events']:,} events of {validity['paths']:,} paths"
    return f"Replayed in plain Python, {counts} are invalid."


def _graphs(graphs: Mapping[str, Any]) -> str:
    """Return what is known of the ONNX graphs, see `runs.export`."""
    worst = max(one["difference"] for one in graphs["parity"].values())
    rows = ["| precision | file, MB | weights a token reads, MB | bits per event |", "|---|---|---|---|"]
    for name, one in graphs["precisions"].items():
        sizes = f"{one['megabytes']:.1f} | {one['weight_megabytes']:.1f}"
        rows.append(f"| {_inline(name)} | {sizes} | {_number(one['bits_per_event'])} |")
    return (
        f"ONNX, operators of version {graphs['opset']}. In float32, no logit differs from the model's by more than"
        f" {worst:.1e}. Bits per event are those of some validation windows. Recommended: {_inline(graphs['chosen'])},"
        f" the smallest whose bits are within 1 % of float32's.\n\n" + "\n".join(rows)
    )


def _splits(splits: Mapping[str, Mapping[str, int]]) -> str:
    rows = [f"| {name} | {one['events']:,} | {one['tokens']:,} |" for name, one in splits.items()]
    return "\n".join(["| split | events | tokens |", "|---|---|---|", *rows])


def _triple(values: Sequence[float | None] | None) -> str:
    if values is None:
        return ""
    value, low, high = values
    inside = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
    return f"{_number(value)}{inside}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _listed(lines: Any) -> str:
    return "\n".join(f"- {_inline(line)}" for line in lines)


def _inline(text: str) -> str:
    """Return text for one line of Markdown: names of files and symbols may have any characters."""
    joined = " ".join(str(text).split())
    return joined.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
