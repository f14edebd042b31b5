"""Configurations: what they hold together, and every refusal."""

import importlib
import pathlib

import pytest

from lob_jax.config import sections, validation
from lob_jax.errors import InputError
from lob_jax.generation.settings import Truncation
from lob_jax.settings import key_types

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))


def load(name: str):
    return importlib.import_module(f"lob_jax.configs.{name}").get_config()


@pytest.mark.parametrize("name", NAMES)
def test_every_config_holds_together(name):
    config = load(name)
    if config.data.feed != "auto":
        config.data.path = "somewhere"
    if config.data.augment.own_flow:
        config.train.init = "somewhere"
    validation.validate(config)
    assert sections.model_config(config).book_features == 4 * config.data.book_levels


def test_base_is_what_the_architecture_says():
    config = load("base")
    model = sections.model_config(config)
    assert (model.n_layers, model.d_model, model.n_heads, model.d_ff) == (12, 768, 12, 3072)
    assert (model.vocab_size, model.max_seq_length, model.dropout, model.tie_embeddings) == (10_000, 1024, 0.1, True)
    train = sections.train_config(config)
    assert (train.batch_size, train.accumulation, train.learning_rate, train.weight_decay) == (32, 4, 6e-4, 0.01)
    assert (train.clip, train.keep_best, train.patience) == (1.0, 3, 10)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.feed", "bloomberg"),
        ("data.columns", "price"),
        ("data.columns", "pric=px"),
        ("data.time_zone", "New York"),
        ("data.train_fraction", 1.5),
        ("data.validation_fraction", 0.4),
        ("data.embargo_events", 10),
        ("data.record_events", 0),
        ("data.synthetic_days", 10**11),
        ("data.volatility_regimes", 10**12),
        ("data.workers", -1),
        ("data.runner_options", '"'),
        ("data.tick", "1e999999999"),
        ("data.tick", "1e30"),
        ("data.lot", "1e-30"),
        ("seed", -1),
        ("generate.seed", 2**32),
        ("evaluate.batch_size", 0),
        ("evaluate.direction_events", -1),
        ("evaluate.manipulated", ("churning",)),
        ("evaluate.manipulated_records", 0),
        ("evaluate.ngram_orders", ()),
        ("evaluate.ngram_orders", (0, 1)),
        ("sweep.space", "train.warmup_steps=uniform(1,99999999999999999999999)"),
        ("tokens.time_digits", 3),
        ("tokens.references", "oldest"),
        ("train.micro_batch", 5),
        ("train.steps", 0),
        ("train.parallel", "xmap"),
        ("train.optimizer", "sgd"),
        ("train.schedule", "linear"),
        ("train.fsdp", 0),
        ("train.decay_fraction", 0.0),
        ("train.ema_decay", 1.0),
        ("train.max_hours", 0.0),
        ("train.max_skipped", 0),
        ("train.loss_block", 0),
        ("model.dtype", "int8"),
        ("model.dtype", "float64"),
        ("generate.temperature", -1.0),
        ("generate.temperature", 1e-39),
        ("generate.top_k", -1),
        ("generate.top_p", 0.0),
        ("generate.min_p", 1.0),
        ("generate.prompts", 0),
        ("generate.paths", 0),
        ("generate.events", 2**31),
        ("find_lr.lowest", 0.0),
        ("find_lr.highest", 1e-7),
        ("find_lr.steps", 3),
        ("find_lr.smoothing", 1.0),
        ("find_lr.stop_factor", 1.0),
        ("overfit.steps", 0),
        ("overfit.target", 0.0),
        ("overfit.dropout", 1.0),
        ("sweep.trials", 0),
        ("forecast.model", "lstm"),
        ("forecast.horizons", (20, 10)),
        ("forecast.heads", 5),
        ("forecast.stride", 0),
        ("forecast.seeds", 0),
        ("forecast.steps", 0),
        ("forecast.block_events", 99),
        ("forecast.onnx", True),  # of the transformer
        ("sweep.startup_trials", -1),
        ("sweep.pruner", "luck"),
        ("sweep.warmup_validations", -1),
        ("sweep.space", "train.learning_rte=log(1e-4,1e-2)"),
        ("model.n_heads", 7),
        ("model.norm", "sideways"),
        ("model.positions", "none"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_key(key, value):
    config = load("base")
    config.update_from_flattened_dict({key: value})
    with pytest.raises(InputError) as caught:
        validation.validate(config)
    assert key.split(".")[-1] in str(caught.value)
    assert "remedy:" in str(caught.value)


def test_several_prompts_are_written_as_lobster_files():
    config = load("base")
    config.generate.prompts, config.generate.format = 2, "parquet"
    with pytest.raises(InputError, match="generate.format"):
        validation.validate(config)
    config.generate.prompts = 1
    validation.validate(config)


@pytest.mark.parametrize("name", ["flow_state", "queue_state", "price_memory", "latest_tokens", "pointer"])
def test_a_model_of_masked_tokens_reads_nothing_that_gives_them_away(name):
    config = load("masked")
    config.model[name] = True
    with pytest.raises(InputError, match=rf"model\.{name}.*(?s:.*)would give it away"):
        validation.validate(config)


@pytest.mark.parametrize("name", ["queue_state", "price_memory", "pointer"])
def test_an_event_of_one_token_has_no_queue_at_its_price(name):
    config = load("compact")
    config.model[name] = True
    with pytest.raises(InputError, match=rf"model\.{name}(?s:.*)no token comes between its price and its size"):
        validation.validate(config)


def test_an_event_of_one_token_has_no_gap_of_its_own():
    config = load("compact")
    config.model.gap_components = 4
    with pytest.raises(InputError, match=r"model\.gap_components(?s:.*)no token is a gap's alone"):
        validation.validate(config)


def test_one_part_of_a_loss_has_no_weight_to_learn():
    config = load("multi_task")
    assert config.train.task_weights == "learned"
    config.model.heads.outlook_events = ()
    with pytest.raises(InputError, match=r"train\.task_weights(?s:.*)one part"):
        validation.validate(config)


def test_what_sampling_refuses_is_named_by_its_key():
    config = load("base")
    config.generate.top_p = 1.5
    with pytest.raises(InputError) as caught:
        validation.validate(config)
    assert (caught.value.where, caught.value.was) == ("config.generate.top_p", "1.5")
    with pytest.raises(InputError) as caught:
        Truncation(top_p=1.5)
    assert caught.value.where == "top_p"


def test_the_simulator_reads_no_path():
    config = load("base")
    config.data.feed, config.data.path = "synthetic", "somewhere"
    with pytest.raises(InputError, match=r"config\.data\.feed"):
        validation.validate(config)
    config.data.feed = "auto"
    validation.validate(config)


def test_a_feed_from_files_needs_a_path():
    config = load("base")
    config.data.feed = "lobster"
    with pytest.raises(InputError, match=r"config\.data\.path"):
        validation.validate(config)


def test_every_key_has_the_type_of_its_values():
    types = key_types(load("base"))
    assert (types["train.steps"], types["train.learning_rate"], types["data.tick"]) == (int, float, str)
    assert (types["seed"], types["model.tie_embeddings"]) == (int, bool)

    def keys(values, prefix=""):
        if not isinstance(values, dict):
            return {prefix}
        return {name for key, value in values.items() for name in keys(value, f"{prefix}.{key}".lstrip("."))}

    assert set(types) == keys(sections.plain(load("base")))


def test_a_space_is_read_with_the_types_of_the_configuration():
    config = load("base")
    config.sweep.space = "train.warmup_steps=log(1,100) model.norm=choice(pre,post)"
    first, second = sections.search_space(config)
    assert first.whole and second.values == ("pre", "post")
