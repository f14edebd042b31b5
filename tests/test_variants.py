"""Every configuration is a model of exactly so many parameters, and learns."""

import dataclasses
import functools
import importlib
import itertools
import pathlib

import jax
import numpy as np
import pytest

from lob_jax.config import sections, validation
from lob_jax.forecasting.forecasters import make_forecaster
from lob_jax.models.accounting import parameter_count
from lob_jax.models.inputs import fields_read
from lob_jax.runs.synthetic import prepare_synthetic
from lob_jax.runs.training import open_training_data
from lob_jax.stages.data import prepare
from lob_jax.training.run.setup import compiled, initial_state, place_step, prepare_run
from lob_jax.training.step.parts import summed_loss

# What forecasters learn is in models/test_forecasters.py and stages/test_forecast.py.
FORECASTERS = {"deeplob", "linear", "tft"}
FILES = {path.stem for path in pathlib.Path(__file__).resolve().parents[1].glob("configs/*.py")}
NAMES = sorted(FILES - FORECASTERS)
VARIANTS = [name for name in NAMES if name not in ("base", "large", "lobster_day", "sized", "small", "tiny")]
BASE = 94_352_656
STEPS = 20
# Directions within a window are nearly one direction: 20 steps of two windows each are a few dozen draws of chance.
# That the head learns what can be learned is in training/test_objectives.py.
NOISE = {"direction"}


def load(name: str, *size: str):
    return importlib.import_module(f"lob_jax.configs.{name}").get_config(*size)


def counts(D=768, L=12, H=64, T=1024) -> dict[str, int]:
    """Return the parameters of each configuration, written out by hand from those of base."""
    head_norms, cross = 2 * 2 * H, 4 * (D * D + D) + 2 * D  # a cross-asset sublayer: query, key, value, output, norm
    narrow = 4 * D * 2 // 3 // 32 * 32
    swiglu = 3 * D * narrow + 2 * narrow + D - (2 * D * 4 * D + 4 * D + D)
    beside = 21 * D + 2 * 20 + 77 * D + 2 * 76 + 12 * D  # book and flow, with moments; queue
    output = 2_114 * D + 4 * (1_000 + D) + (151 + 30) * (D + 1)  # parts, digits of rank 4, candidates and levels
    outlook = D * D + D + D * 4 * 4 + 4 * 4  # hidden layer; three logits and a volatility at four horizons
    return {
        "adversarial": BASE,
        "block_sparse": BASE,
        "compact": BASE - T * D,  # rotary positions
        "contrastive": BASE + D * D + D + D * 64 + 64,
        "cross_asset": BASE + L * cross + 2 * D,
        "linformer": BASE + L * 2 * 64 * T,
        "manipulated": BASE,
        "masked": BASE,
        "mixup": BASE,
        "modern": BASE - T * D + L * (swiglu + head_norms) + beside + output,
        "multi_scale": BASE,
        "multi_task": BASE + outlook + 20 * D + D + 2 * 20,  # and the projection of the book, with its moments
        "own_flow": BASE,
        "time_warp": BASE,
        "event_dropout": BASE,
        "next_tokens": BASE + 3 * (D * D + D) + 2 * D,
        "performer": BASE + L * head_norms,
        "regimes": BASE + 6 * D,
        "token_dropout": BASE,
        "synthetic_events": BASE,
    }


EXACT = {
    "base": BASE,
    "large": 314_965_776,
    "lobster_day": 2_415_693,
    "sized": BASE,
    "small": 24_985_360,
    "tiny": 999_077,
    "adversarial": 94_352_656,
    "block_sparse": 94_352_656,
    "compact": 93_566_224,
    "contrastive": 94_992_464,
    "cross_asset": 122_721_040,
    "linformer": 95_925_520,
    "manipulated": 94_352_656,
    "masked": 94_352_656,
    "mixup": 94_352_656,
    "modern": 95_436_069,
    "multi_scale": 94_352_656,
    "multi_task": 94_971_720,
    "own_flow": 94_352_656,
    "time_warp": 94_352_656,
    "event_dropout": 94_352_656,
    "next_tokens": 96_125_968,
    "performer": 94_355_728,
    "regimes": 94_357_264,
    "token_dropout": 94_352_656,
    "synthetic_events": 94_352_656,
    "deeplob": 61_276,
    "linear": 63_612,
    "tft": 214_128,
}


def forecaster_count(name: str) -> int:
    """Return the parameters of a forecaster of one instrument, from the shapes of an example."""
    config = sections.forecast_config(load(name), instruments=1)
    history, clock = config.history, 4
    shapes = {
        "book": (history, 4 * config.levels),
        "flow": (history, 5),
        "kind": (history,),
        "past_clock": (history, clock),
        "future_clock": (len(config.horizons), clock),
        "instrument": (),
        "day_of_week": (),
    }
    whole = ("kind", "instrument", "day_of_week")
    batch = {name: np.zeros((1, *shape), np.int32 if name in whole else np.float32) for name, shape in shapes.items()}
    params = jax.eval_shape(make_forecaster(config, None).init, {"params": jax.random.key(0)}, batch)["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.slow
def test_the_exact_parameters_of_every_configuration():
    found = {name: parameter_count(sections.model_config(load(name))) for name in NAMES}
    found |= {name: forecaster_count(name) for name in FORECASTERS}
    assert found == EXACT
    assert {name: EXACT[name] for name in VARIANTS} == counts()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return a function: a run's folder with records, those of another configuration where they are the same."""
    folders: dict[str, pathlib.Path] = {}

    def folder_of(config):
        key = str(config.data)
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp("run")
            prepare(config, folders[key])
            prepare_synthetic(config, folders[key])
        return folders[key]

    return folder_of


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", *(name for name in VARIANTS if name != "own_flow")])  # starts from a run
def test_it_learns_in_twenty_steps_at_the_tiny_size(name, prepared):
    config = load(name, *([] if name == "tiny" else ["tiny"]))
    config.data.synthetic_days, config.data.synthetic_events = 3, 3000
    config.train.batch_size, config.train.warmup_steps, config.train.validation_windows = 2, 5, 2
    validation.validate(config)
    data, train = open_training_data(config, prepared(config)), sections.train_config(config)
    run = compiled(
        prepare_run(
            sections.model_config(config),
            dataclasses.replace(train, micro_batch=2),
            total_steps=STEPS,
            validation=data.validation,
            measured=data.measured,
            masks=data.masks,
            also=data.also,
            seed=0,
            devices=jax.devices()[:1],
            before=None,
        )
    )
    batches = list(itertools.islice(data.batches(data.start), STEPS))
    same = {name: np.concatenate([batch[name] for batch in batches[:4]]) for name in batches[0]}
    parts = losses_of(run.model, train.objective_of_loss, same, run.masks)
    state = initial_state(run)
    before = parts(state.params)
    for batch in batches:
        state, metrics = run.train_step(state, place_step(run, [batch]))
    after = parts(state.params)
    assert int(metrics["skipped"]) == 0
    for part in before.keys() - NOISE:  # the whole, and where there are several each part of it
        assert after[part] < before[part], part


def losses_of(model, objective, batch, masks):
    """Return a function of parameters: the loss of a batch without dropout, and of each of its parts."""
    inputs = {name: batch[name] for name in fields_read(model.config)}
    step = jax.jit(functools.partial(summed_loss, model=model, objective=objective, masks=masks))

    def of(params):
        total, _, parts = step(params, inputs, None)
        return {name: float(value) for name, value in {"whole": total, **parts}.items()}

    return of
