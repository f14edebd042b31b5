"""Export a trained run: write its graphs, compare them with the model, measure them, and put all into a bundle."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import onnx

from lob_jax.errors import InputError
from lob_jax.evaluation.evaluate import with_places, without_places
from lob_jax.evaluation.likelihood.scores import Network, score_windows
from lob_jax.export import graphs, parity, program, quantize
from lob_jax.export.bundle import VOCABULARY_KEY, Bundle, refuse_taken, write_bundle
from lob_jax.export.config import PLAIN, ExportConfig, role_of
from lob_jax.export.decoder import session
from lob_jax.export.generate import forward_of
from lob_jax.export.manifest import GRAPHS, Roles
from lob_jax.export.saved_model import save_saved_model
from lob_jax.export.stablehlo import load_program, save_program
from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import Conditioning
from lob_jax.models.pointer import Features
from lob_jax.runs.bundle import bundle_parts
from lob_jax.runs.load import Run
from lob_jax.runs.reference import reference_of
from lob_jax.runs.scoring import rules_of
from lob_jax.runs.training import some_windows, windows_of

FINGERPRINT_KEY = "lob_jax.records"  # of a graph's metadata: the hash of the records that the model was trained on
CLOSE = 0.01  # a precision whose bits per event are within this share of float32's is as good
REAL_WINDOWS = 2  # that graphs are compared with the model on
STABLEHLO, SAVED_MODEL = "stablehlo", "saved_model"  # folders in a bundle


@dataclasses.dataclass(frozen=True)
class Measured:
    """What one precision of the graphs costs, and how well it predicts.

    Attributes:
      megabytes: size of the file of the step graph; of the forward graph if there is no step.
      weight_megabytes: weights that each token reads.
      integer_share: share of the products that are of integers.
      bits_per_event: on validation windows; NaN for a model that is not causal.
      agreement: share of validation tokens whose likeliest token is that of float32.
    """

    megabytes: float
    weight_megabytes: float
    integer_share: float
    bits_per_event: float
    agreement: float


@dataclasses.dataclass(frozen=True, eq=False)
class Graphs:
    """The ONNX graphs of a run.

    Attributes:
      files: the graphs by role, such as "step_int8".
      parity: how closely the float32 graphs agree with the model.
      measured: by precision.
      chosen: the smallest precision whose bits per event are within CLOSE of float32's.
    """

    files: dict[str, onnx.ModelProto]
    parity: dict[str, parity.Parity]
    measured: dict[str, Measured]
    chosen: str


@dataclasses.dataclass(frozen=True, eq=False)
class Exported:
    """What an export has written.

    Attributes:
      bundle: the bundle.
      graphs: its ONNX graphs; None if it has none.
      programs: how closely its StableHLO programs agree with the model, by name.
    """

    bundle: Bundle
    graphs: Graphs | None
    programs: dict[str, parity.Parity]


def export_run(run: Run, folder: pathlib.Path, settings: ExportConfig) -> Exported:
    """Write a bundle of a run's best checkpoint, in the formats that are asked for.

    Args:
      run: a trained run.
      folder: the folder of the bundle, which must not exist yet.
      settings: the formats and precisions, and how they are measured.

    Raises:
      InputError: the model cannot be exported, a graph does not agree with it, or the folder is taken.
    """
    refuse_taken(folder)
    parts = bundle_parts(run)
    about = {
        VOCABULARY_KEY: run.tokenizer.vocabulary.hash,
        FINGERPRINT_KEY: parts.card["data"]["sha256"],
        "lob_jax.step": str(run.step),
    }
    made = make_graphs(run, settings, about) if "onnx" in settings.formats else None
    forward = None if made is None else forward_of(session(made.files[role_of("forward", PLAIN)].SerializeToString()))
    reference = reference_of(run.workdir / "records", parts.contents, forward)
    contents = dataclasses.replace(parts.contents, reference=reference)
    card = parts.card if made is None else {**parts.card, "graphs": _of_card(made, settings.opset)}
    programs: dict[str, parity.Parity] = {}

    def write(partial: pathlib.Path) -> Roles:
        roles = {} if made is None else {GRAPHS: _write_graphs(partial, made)}
        if "stablehlo" in settings.formats:
            names, found = write_programs(partial / STABLEHLO, run, about)
            programs.update(found)
            roles[STABLEHLO] = {name: f"{STABLEHLO}/{name}.stablehlo" for name in names}
        if "saved_model" in settings.formats:
            _write_saved_model(partial / SAVED_MODEL, run)
            roles[SAVED_MODEL] = {"forward": f"{SAVED_MODEL}/saved_model.pb"}
        return roles

    bundle = write_bundle(folder, contents, weights=parts.weights, card=card, about=parts.about, write=write)
    return Exported(bundle, made, programs)


def make_graphs(run: Run, settings: ExportConfig, about: dict[str, str]) -> Graphs:
    """Return the ONNX graphs of a run, compared with its model and measured on validation windows.

    Args:
      run: the run.
      settings: the precisions, and how many windows.
      about: what the graphs say of themselves.

    Raises:
      InputError: the model cannot be exported as ONNX, or a graph does not agree with it.
    """
    forward = graphs.with_metadata(graphs.forward_graph(run.params, run.model, opset=settings.opset), about)
    step = None
    if run.model.causal:
        step = graphs.with_metadata(graphs.step_graph(run.params, run.model, opset=settings.opset), about)
    batch = validation_windows(run, settings.windows)
    real = {name: array[:REAL_WINDOWS, :-1] for name, array in batch.items() if array.ndim > 1}
    agreed = parity.check_graphs(forward, step, run.params, run.model, real)
    files: dict[str, onnx.ModelProto] = {}
    measured, expected = {}, None
    for precision in (PLAIN, *(name for name in settings.precisions if name != PLAIN)):
        forms = {role_of("forward", precision): forward, role_of("step", precision): step}
        made = {role: quantize.quantized(form, precision) for role, form in forms.items() if form}
        files |= made
        bits, predicted = _scored(run, made[role_of("forward", precision)], batch)
        expected = predicted if expected is None else expected
        measured[precision] = _measured(list(made.values())[-1], bits, float((predicted == expected).mean()))
    return Graphs(files, agreed, measured, smallest_close(measured))


def write_programs(folder: pathlib.Path, run: Run, about: dict[str, str]) -> tuple[list[str], dict[str, parity.Parity]]:
    """Write the programs of a run as StableHLO, load them again, and return their names and how closely they agree.

    A model whose attention is compiled for one length has a program of complete contexts alone.

    Raises:
      InputError: a program that was loaded does not compute what the model does.
    """
    free = program.any_length(run.model)
    length = None if free else run.model.max_seq_length
    made = {"forward": program.forward(run.params, run.model, platforms=program.PLATFORMS, length=length)}
    if run.model.causal and free:
        made["step"] = program.step(run.params, run.model, platforms=program.PLATFORMS)
    for name, one in made.items():
        save_program(folder / f"{name}.stablehlo", one, about=about)
    inputs = parity.random_inputs(run.model, 2, length or parity.TOKENS)
    expected = parity.model_logits(run.params, run.model, inputs)
    found = load_program(folder / "forward.stablehlo")(inputs)["logits"]
    return list(made), {"forward": parity.checked("StableHLO", np.asarray(found), expected)}


def _write_saved_model(folder: pathlib.Path, run: Run) -> None:
    """Write a run's program of complete windows for TensorFlow."""
    length = run.model.max_seq_length
    made = program.forward(run.params, run.model, length=None if program.any_length(run.model) else length)
    sizes = {name: length if name == program.LENGTH else 1 for shape in made.inputs.values() for name in shape
             if isinstance(name, str)}  # fmt: skip
    save_saved_model(folder, made, sizes=sizes)
    (folder / "assets").rmdir()  # which is empty: a copy of the bundle could lack it


def validation_windows(run: Run, count: int) -> dict[str, np.ndarray]:
    """Return evenly spaced windows of the validation split, with the sets of tokens if the model's mask has them."""
    beside = without_places(run.beside) if run.model.mask == "none" else with_places(run.beside, run.tokenizer)
    batches = some_windows(windows_of(run.config, run.workdir, "validation", beside), count)
    if not batches:
        raise InputError(
            "the run has no validation windows to measure its graphs on",
            where=run.workdir / "records",
            expected="at least one window",
            was=0,
            remedy="prepare more events",
        )
    return batches[0]


def _scored(run: Run, graph: onnx.ModelProto, batch: Mapping[str, np.ndarray]) -> tuple[float, np.ndarray]:
    """Return the bits per event of a forward graph on some windows, and its likeliest tokens."""
    one_by_one = ({name: array[at : at + 1] for name, array in batch.items()} for at in range(len(batch["tokens"])))
    scores = score_windows(graph_network(graph, run.model), {}, one_by_one, rules=rules_of(run))
    events = int((batch["scored"][:, 1:] & (batch["event"][:, 1:] != batch["event"][:, :-1])).sum())
    bits = scores.nll.sum() / math.log(2) / max(events, 1) if run.model.causal else math.nan
    return float(bits), scores.predicted


def graph_network(graph: onnx.ModelProto, model: ModelConfig) -> Network:
    """Return a forward graph as a network that evaluations take; its parameters are its own."""
    running = session(graph.SerializeToString())
    inputs = [each.name for each in running.get_inputs()]

    def logits_of(tokens_BT: np.ndarray, known: dict[str, np.ndarray]) -> np.ndarray:
        given = {name: np.asarray({"tokens": tokens_BT, **known}[name]) for name in inputs}
        found: Any = running.run(["logits"], given)
        return found[0]

    def features_of(_: Any, tokens_BT: jax.Array, conditioning: Conditioning) -> Features:
        shape = jax.ShapeDtypeStruct((*tokens_BT.shape, model.vocab_size), np.float32)
        known = {name: array for name, array in conditioning.items() if name in inputs}
        return Features(jax.pure_callback(logits_of, shape, tokens_BT, known))

    return Network(features_of, lambda _, features: features.x_BTD)


def _measured(graph: onnx.ModelProto, bits: float, agreement: float) -> Measured:
    counted = quantize.cost(graph)
    products = max(counted.float_products + counted.integer_products, 1)
    return Measured(
        megabytes=counted.file_bytes / 1e6,
        weight_megabytes=counted.weight_bytes / 1e6,
        integer_share=counted.integer_products / products,
        bits_per_event=bits,
        agreement=agreement,
    )


def smallest_close(measured: Mapping[str, Measured]) -> str:
    """Return the precision that reads the fewest bytes among those whose bits per event are within CLOSE of float32."""
    most = measured[PLAIN].bits_per_event * (1 + CLOSE)
    close = [name for name, one in measured.items() if name == PLAIN or one.bits_per_event <= most]
    return min(close, key=lambda name: measured[name].weight_megabytes)


def _of_card(made: Graphs, opset: int) -> dict[str, Any]:
    """Return what the card says of the graphs."""
    return {
        "opset": opset,
        "chosen": made.chosen,
        "parity": {name: dataclasses.asdict(one) for name, one in made.parity.items()},
        "precisions": {
            name: {key: None if math.isnan(value) else value for key, value in dataclasses.asdict(one).items()}
            for name, one in made.measured.items()
        },
    }


def _write_graphs(folder: pathlib.Path, made: Graphs) -> dict[str, str]:
    """Write the graphs, and return their files by role."""
    for name, graph in made.files.items():
        (folder / f"{name}.onnx").write_bytes(graph.SerializeToString())
    return {name: f"{name}.onnx" for name in made.files}
