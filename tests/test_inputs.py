"""The table of what windows carry holds: each array is made, travels, is read, and is continued in generation.

A row that nothing makes or that nothing reads fails here, and so does an array that is in no row.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.config.sections import model_config
from lob_jax.configs import base
from lob_jax.data.labels.moves import Outlooks
from lob_jax.data.labels.regimes import Regimes
from lob_jax.data.records.records import make_records, record_instrument
from lob_jax.data.records.split import Part
from lob_jax.data.windows import known
from lob_jax.data.windows.known import Beside
from lob_jax.data.windows.pipeline import batches
from lob_jax.errors import InputError
from lob_jax.evaluation.evaluate import open_windows
from lob_jax.evaluation.likelihood.scores import Network, score_windows
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.generation import loop
from lob_jax.generation.context import prompt_window
from lob_jax.generation.device import known as device
from lob_jax.generation.settings import SamplingConfig
from lob_jax.generation.start import start_paths
from lob_jax.models.inputs import ARRAYS, BY_NAME, Advance, Role, fields_held, fields_read, given, names_of, zeros
from lob_jax.models.masking import make_masks
from lob_jax.models.transformer import LOBTransformer, initial_parameters
from lob_jax.runs.prompt import make_prompt
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.sets.shares import SHAPE
from lob_jax.training.run.budget import window_bytes
from lob_jax.training.run.speed import blank_batch
from lob_jax.training.step.layout import make_mesh, split_over_windows
from lob_jax.training.step.objective import NEXT_TOKEN
from lob_jax.training.step.parts import summed_loss
from lob_jax.training.step.shift import join

LEVELS, CONTEXT = 3, 24
BARE = dataclasses.replace(
    model_config(base.get_config()),
    d_model=16,
    n_layers=1,
    n_heads=2,
    head_size=0,
    d_ff=24,
    max_seq_length=CONTEXT,
    dropout=0.1,  # else nothing tells examples apart
    time_of_day=False,
    day_of_week=False,
    book_state=False,
    book_features=4 * LEVELS,
    standardize_book=True,
    flow_state=False,
    queue_state=False,
    price_memory=False,
    latest_tokens=False,
    token_parts=False,
    digits_rank=0,
    gap_components=0,
    counts=0,
    pointer=False,
    n_regimes=4,
    dtype="float32",
)
# Together they read every array that any model reads, but where windows start: only contrastive training compares it.
READERS = {
    "one instrument": dataclasses.replace(
        BARE,
        time_of_day=True,
        day_of_week=True,
        book_state=True,
        flow_state=True,
        queue_state=True,
        price_memory=True,
        latest_tokens=True,
        pointer=True,
        regime="added",
        mask="book",
        n_instruments=2,
        positions="rotary_time",
        attention=dataclasses.replace(BARE.attention, kind="multi_scale", horizons=("4 events", "2 s")),
        heads=dataclasses.replace(BARE.heads, outlook_events=(2, 5)),
    ),
    "two instruments": dataclasses.replace(
        BARE, attention=dataclasses.replace(BARE.attention, cross_asset=True), n_instruments=2
    ),
}
MODELS = {"bare": BARE, **READERS}
QUICKLY = {"xla_backend_optimization_level": 0}


@pytest.fixture(scope="module")
def records():
    """Return records of the same day of two instruments."""
    shape = {"record_events": 60, "context": CONTEXT, "book_levels": LEVELS, "flow_state": True}
    days = (SyntheticFeed(days=1, events=200, seed=seed).read("2024-01-02") for seed in (1, 2))
    named = [
        dataclasses.replace(day, instrument=dataclasses.replace(day.instrument, symbol=symbol))
        for day, symbol in zip(days, ("ONE", "TWO"), strict=True)
    ]
    part = Part("train", 0, min(len(day.events) for day in named), 0)
    return [record for day in named for _, record in make_records(day, [part], ExactTokenizer(), **shape)]


def asked(model) -> Beside:
    """Return what windows of such a model hold, as `stages.model.beside_of` asks for it."""
    return Beside(
        names=tuple(name for name in fields_held(model) if name in (*known.MAKERS, known.SETS)),
        regimes=Regimes((0.2,), (2.5,)),
        symbols=("ONE", "TWO"),
        outlooks=Outlooks(model.heads.outlook_events, (0.0,) * len(model.heads.outlook_events)),
        tokenizer=ExactTokenizer(),
    )


def windows_of(model, records, *, evaluation=False):
    return open_windows(model, records, evaluation=evaluation, beside=asked(model))


def assert_of_the_table(model, found, *, windows, tokens):
    """The arrays have the names, dtypes and shapes of their rows."""
    expected = zeros(model, tuple(found), windows=windows, tokens=tokens)
    assert {name: (array.dtype, array.shape) for name, array in found.items()} == {
        name: (array.dtype, array.shape) for name, array in expected.items()
    }


def test_every_array_that_a_model_may_read_is_read_here_and_left_by_another():
    read = {name for model in READERS.values() for name in fields_read(model)}
    assert read == {array.name for array in ARRAYS} - {"shown", "record", "position"}
    assert fields_read(BARE) == ("tokens", "scored", "example")


@pytest.mark.parametrize("evaluation", [False, True])
@pytest.mark.parametrize("kind", MODELS)
def test_windows_hold_what_the_table_says_and_nothing_else(records, kind, evaluation):
    model = MODELS[kind]
    windows = windows_of(model, records, evaluation=evaluation)
    assets = (2,) if model.attention.cross_asset else ()
    for window in (windows[0], windows[len(windows) - 1], windows.blank()):
        assert {*window, "example"} == set(fields_held(model))
        assert_of_the_table(model, window, windows=assets, tokens=CONTEXT + 1)


def test_no_maker_makes_what_no_row_names():
    assert {*known.MAKERS, known.SETS} <= set(names_of(Role.BESIDE, Role.PLACE, Role.LABEL))


def test_an_array_that_nothing_makes_is_told(records):
    with pytest.raises(InputError, match=r"no function makes the array weather(?s:.*)known\.py"):
        known.known_along(known.along(records[0], time_buckets=288, beside=Beside(("weather",))))


@pytest.mark.parametrize("name", ["regime", "direction", "state", "flow"])
def test_what_a_maker_needs_and_is_not_given_is_told(records, name):
    with pytest.raises(InputError, match="requested without its (regimes|outlooks|tokenizer)"):
        known.known_along(known.along(records[0], time_buckets=288, beside=Beside((name,))))


def test_sets_need_the_tokenizer(records):
    with pytest.raises(InputError, match=r"allowed is requested without its tokenizer(?s:.*)tokenizer of the records"):
        known.sets_along(records[0], Beside((known.SETS,)))


@pytest.mark.parametrize("kind", MODELS)
def test_what_a_step_is_compiled_and_timed_with_looks_like_what_it_gets(records, kind):
    model = MODELS[kind]
    batch = next(iter(batches(windows_of(model, records), batch_size=4, seed=0, epochs=1, shuffle=False)))
    step, blank = join([batch], fields_read(model)), blank_batch(model, 4)
    assert {name: (leaf.dtype, (1, *leaf.shape)) for name, leaf in step.items()} == {
        name: (leaf.dtype, leaf.shape) for name, leaf in blank.items()
    }
    assert blank["scored"].all() and blank["example"].tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("kind", MODELS)
def test_devices_share_the_windows_of_every_array(kind):
    mesh, model = make_mesh(jax.devices(), fsdp=2), MODELS[kind]
    sharding = split_over_windows(mesh, leading_axes=1)
    for name, leaf in blank_batch(model, 2 * mesh.size).items():
        assert sharding.shard_shape(leaf.shape) == (1, 2, *leaf.shape[2:]), name


@pytest.mark.parametrize("kind", MODELS)
def test_the_budget_may_leave_out_what_windows_bring_along(kind):
    """It counts activations alone: all arrays together are less than a 45th of those of the smallest model."""
    model = dataclasses.replace(MODELS[kind], d_model=64, n_layers=3, n_heads=4, d_ff=256, max_seq_length=256)
    arrays = sum(leaf.nbytes for leaf in blank_batch(model, 1).values())
    assert arrays < window_bytes(model) / 45


def changed(name: str, array: np.ndarray, model) -> np.ndarray:
    """Return an array with other entries in the second half of each window."""
    if BY_NAME[name].letters == "B":
        return array + 1
    axis = BY_NAME[name].letters.index("T") + array.ndim - len(BY_NAME[name].letters)
    if array.dtype == bool:
        other = ~array
    elif BY_NAME[name].ids is not None:
        other = (array + 1) % BY_NAME[name].ids(model)
    else:
        other = array + array.dtype.type(7)
    later = np.arange(array.shape[axis]) > array.shape[axis] // 2
    return np.where(later.reshape(-1, *[1] * (array.ndim - axis - 1)), other, array)


@pytest.mark.parametrize("kind", MODELS)
def test_a_step_depends_on_every_array_that_it_reads_and_on_no_other(records, kind):
    model = MODELS[kind]
    random, shapes = np.random.default_rng(0), jax.eval_shape(lambda: initial_parameters(model, jax.random.key(0)))

    def drawn(path, leaf):
        mean = 5 if "deviation" in path[-1].key else 0.1  # else features would be so large that a norm hides the rest
        return jnp.asarray(random.normal(mean, 0.2, leaf.shape), leaf.dtype)

    params = jax.tree_util.tree_map_with_path(drawn, shapes)
    batch = next(iter(batches(windows_of(model, records), batch_size=4, seed=0, epochs=1, shuffle=False)))
    masks = make_masks(ExactTokenizer().grammar, np.linspace(0.01, 0.3, int(np.prod(SHAPE))).reshape(SHAPE))
    parts = functools.partial(summed_loss, model=LOBTransformer(model), objective=NEXT_TOKEN, masks=masks)
    step = jax.jit(lambda batch: parts(params, batch, jax.random.key(0))[0], compiler_options=QUICKLY)
    loss = float(step(batch))
    assert np.isfinite(loss)
    felt = {name for name in batch if float(step({**batch, name: changed(name, batch[name], model)})) != loss}
    assert felt == set(fields_read(model))


def test_evaluation_places_its_scores_by_what_the_table_says_of_a_window(records):
    (*_, batch) = batches(windows_of(BARE, records, evaluation=True), batch_size=2, seed=0, epochs=1, shuffle=False)

    def score(**changes):
        def apply(params, tokens_BT, conditioning):
            return jax.nn.one_hot(tokens_BT, 10_000)

        return score_windows(Network(apply, lambda _, logits_BKV: logits_BKV), {}, [batch | changes])

    first = score()
    assert (score(record=batch["record"] + 3).record == first.record + 3).all()
    assert (score(position=batch["position"] + 3).position == first.position + 3).all()


def test_generation_continues_every_input_that_a_model_of_one_instrument_reads(records):
    model, tokenizer = READERS["one instrument"], ExactTokenizer()
    prompt = make_prompt(records, events=3, tokenizer=tokenizer, time_buckets=model.time_buckets, beside=asked(model))
    read = set(fields_read(model, Role.BESIDE))
    assert read <= set(prompt.known_T)
    assert_of_the_table(model, prompt.known_T, windows=(), tokens=len(prompt.tokens_T))
    instrument, sampling = record_instrument(records[0]), SamplingConfig(paths=2, events=5, seed=0)
    paths, _ = start_paths([prompt], tokenizer, instrument, sampling)
    shape = loop.loop_shape(model, tokenizer, prompt, instrument, sampling)
    window, _ = prompt_window([prompt], 2, CONTEXT)
    new = jax.eval_shape(lambda: loop.inputs_of(paths, jnp.zeros(2, jnp.int32), window, shape))
    assert_of_the_table(model, new.known, windows=(2,), tokens=1)
    assert set(new.known) == set(window.known)


def test_generation_has_a_maker_for_what_does_not_stay_the_same():
    moving = {array.name for array in ARRAYS if array.advance not in (None, Advance.CONSTANT)}
    assert set(device.MAKERS) == moving
    assert {array.name for array in ARRAYS if array.advance} <= set(names_of(Role.BESIDE))
    assert set(device.SOURCES) == set(Advance) - {Advance.CONSTANT}


def test_an_input_that_is_not_given_is_described():
    with pytest.raises(InputError, match=r"reads clock(?s:.*)int32 \[B, T, 2\](?s:.*)only book"):
        given({"book": jnp.zeros((1, 2, 12))}, "clock")
