"""Validate a complete configuration, once, before anything runs."""

import shlex

import ml_collections

from lob_jax.config.sections import (
    augment_config,
    export_config,
    fit_config,
    forecast_config,
    generation_backend,
    model_config,
    prune_config,
    sampling_config,
    search_space,
    train_config,
)
from lob_jax.data.records.split import context_of, required_embargo
from lob_jax.data.windows.augment.manipulation.draw import PATTERNS
from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.generators.baselines import NAMES as BASELINES
from lob_jax.evaluation.fidelity.networks.choice import NAMES as NETWORKS
from lob_jax.feeds.feed import ON_ERROR
from lob_jax.feeds.format import AUTO, FEEDS, SYNTHETIC
from lob_jax.feeds.lobster.files import ORDER_BOOK, PAST_MIDNIGHT
from lob_jax.feeds.reading.scale import parse_step
from lob_jax.feeds.table.names import parse_columns, zone_of
from lob_jax.forecasting.examples import SMOOTHINGS
from lob_jax.forecasting.fi2010 import PROTOCOLS
from lob_jax.generation.user_orders import read_order
from lob_jax.models.attention.kind import is_mask
from lob_jax.settings import check_like, defaults
from lob_jax.tokens.registry import tokenizer_class
from lob_jax.tokens.tokenizer import Ability, require
from lob_jax.training.step.objective import OBJECTIVES

FORMATS, PRUNERS = ("lobster", "hftbacktest", "parquet"), ("median", "hyperband", "none")
OF_FILES = ("tick", "lot", "columns", "time_zone")  # keys of data that do not apply to the simulator
MOST = 10**9  # the default upper limit of a count
MOST_OF = {
    "synthetic_days": 10_000,
    "volatility_regimes": 100,
    "spread_regimes": 100,
    "book_levels": 1000,
    "workers": 1000,
}
MOST_SEED = 2**32 - 1
MOST_ORDER = 20  # of an n-gram model: each order takes a separate table of counts


def _require(holds: bool, key: str, *, expected: object, was: object, remedy: str) -> None:
    if not holds:
        raise InputError(
            "the configuration is invalid",
            where=f"config.{key}",
            expected=expected,
            was=was,
            remedy=remedy,
        )


def _check_data(config: ml_collections.ConfigDict) -> None:
    data = config.data
    if data.feed not in (*FEEDS, SYNTHETIC, AUTO):
        raise FEEDS.unknown(data.feed, also=(SYNTHETIC, AUTO))
    _require(
        data.feed in (SYNTHETIC, AUTO) or bool(data.path),
        "data.path",
        expected=f"a file or folder, since data.feed is {data.feed!r}",
        was="nothing",
        remedy="pass --config.data.path=",
    )
    _require(
        data.order_book in ORDER_BOOK,
        "data.order_book",
        expected=f"one of {ORDER_BOOK}",
        was=data.order_book,
        remedy="required reads LOBSTER's order-book file; none builds the book from the messages alone",
    )
    _require(
        data.order_book == "required" or (bool(data.path) and data.feed in ("lobster", AUTO)),
        "data.order_book",
        expected="required, unless the data are LOBSTER files",
        was=f"{data.order_book}, with the {data.feed} feed",
        remedy="leave it out, or pass --config.data.path= and --config.data.feed=lobster",
    )
    _require(
        data.feed != SYNTHETIC or not data.path,
        "data.feed",
        expected=f"auto, or the format of the files, since data.path is {data.path!r}",
        was="synthetic, which reads no files",
        remedy="leave out --config.data.feed=synthetic to read the files, or --config.data.path= to simulate",
    )
    given = [key for key in OF_FILES if data[key]]
    _require(
        bool(data.path) or not given,
        f"data.{given[0] if given else 'path'}",
        expected="no value when simulating, since it is a setting for files",
        was=data[given[0]] if given else "",
        remedy="leave it out, or pass the files: --config.data.path=",
    )
    _require(
        data.on_error in ON_ERROR,
        "data.on_error",
        expected=f"one of {ON_ERROR}",
        was=data.on_error,
        remedy="strict stops at the first bad row; skip counts bad rows; quarantine also copies them to a file",
    )


def _check_records(config: ml_collections.ConfigDict) -> None:
    data, context = config.data, config.model.max_seq_length
    _require(
        data.processes is None or data.processes > 0,
        "data.processes",
        expected="a positive number, or None for one per core",
        was=data.processes,
        remedy="leave it out",
    )
    for key in ("tick", "lot"):
        if data[key] is not None:
            parse_step(data[key], where=f"config.data.{key}")
    parse_columns(data.columns)
    if data.time_zone is not None:
        zone_of(data.time_zone, where="config.data.time_zone")
    for key in ("train_fraction", "validation_fraction"):
        _require(0 < data[key] < 1, f"data.{key}", expected="between 0 and 1", was=data[key], remedy="pass a fraction")
    used = data.train_fraction + data.validation_fraction
    _require(
        used < 1,
        "data.train_fraction + data.validation_fraction",
        expected="less than 1, so that a test part remains",
        was=used,
        remedy="lower one of the two",
    )
    tokenizer = tokenizer_class(config.tokens.kind, where="config.tokens.kind")
    needed = required_embargo(context_of(context, fewest_event_tokens=tokenizer.fewest_event_tokens))
    _require(
        data.embargo_events >= needed,
        "data.embargo_events",
        expected=f"at least {needed}: a context of {context} tokens may span that many events",
        was=data.embargo_events,
        remedy=f"pass --config.data.embargo_events={needed}",
    )
    counts = (
        "synthetic_events",
        "record_events",
        "book_levels",
        "synthetic_days",
        "volatility_regimes",
        "spread_regimes",
    )
    for key in counts:
        _require_count(config, "data", key, most=MOST_OF.get(key, MOST))
    _require_count(config, "data", "embargo_events", least=0)
    if data.workers is not None:
        _require_count(config, "data", "workers", least=0, most=MOST_OF["workers"])
    try:
        shlex.split(data.runner_options)
    except ValueError as error:
        _require(
            False, "data.runner_options", expected="options as on a command line", was=error, remedy="close the quotes"
        )


def _check_augment(config: ml_collections.ConfigDict) -> None:
    augment, tokenizer = augment_config(config), tokenizer_class(config.tokens.kind, where="config.tokens.kind")
    _require(
        augment.token_dropout == 0 or OBJECTIVES[config.train.objective].causal,
        "data.augment.token_dropout",
        expected=f"0, since train.objective is {config.train.objective}, which hides tokens itself",
        was=augment.token_dropout,
        remedy="leave it out, and hide more tokens with --config.train.mask_share",
    )
    _require(
        augment.synthetic == 0 or not config.model.attention.cross_asset,
        "data.augment.synthetic",
        expected="0, since model.attention.cross_asset reads two instruments that synthetic flow does not relate",
        was=augment.synthetic,
        remedy="leave out one of the two",
    )
    if not augment.alters_events:
        return
    require(tokenizer, Ability.EVENTS, what="an augmentation of events", where="config.data.augment")
    _require(
        not config.model.attention.cross_asset,
        "data.augment",
        expected="no augmentation of events, since model.attention.cross_asset reads two instruments at the same times",
        was=augment.settings()["augment"],
        remedy="leave out one of the two",
    )
    _require(
        augment.own_flow == 0 or bool(config.train.init),
        "data.augment.own_flow",
        expected="0, since no trained model is there to continue the market",
        was=augment.own_flow,
        remedy="pass --config.train.init= with the folder of a trained run",
    )


def _require_count(
    config: ml_collections.ConfigDict, section: str, key: str, *, least: int = 1, most: int | None = None
) -> None:
    """Check that a count is in its range: too large a one would exhaust the memory, or never end."""
    value, highest = config[section][key], MOST if most is None else most
    expected = f"a whole number from {least:,} to {highest:,}"
    remedy = f"pass --config.{section}.{key}={min(max(value, least), highest)}, say"
    _require(least <= value <= highest, f"{section}.{key}", expected=expected, was=value, remedy=remedy)


def _check_seed(config: ml_collections.ConfigDict) -> None:
    _require(
        0 <= config.seed <= MOST_SEED,
        "seed",
        expected=f"a whole number from 0 to {MOST_SEED}",
        was=config.seed,
        remedy="any 32-bit number will do",
    )


def _check_run(config: ml_collections.ConfigDict) -> None:
    digits, train = config.tokens.time_digits, config.train
    tokenizer = tokenizer_class(config.tokens.kind, where="config.tokens.kind")
    choices = tokenizer.time_digits
    _require(
        digits in choices,
        "tokens.time_digits",
        expected=" | ".join(str(choice) for choice in choices) + f" for {config.tokens.kind} tokens",
        was=digits,
        remedy="leave it out: None keeps as many digits of a gap as these tokens can",
    )
    _require(
        config.tokens.references in tokenizer.references,
        "tokens.references",
        expected=f"{' | '.join(tokenizer.references)} for {config.tokens.kind} tokens",
        was=config.tokens.references,
        remedy="leave it out, or choose tokens that have this value: --config.tokens.kind=exact",
    )
    _require(
        train.steps is None or train.steps > 0,
        "train.steps",
        expected="a positive number, or None to derive it from epochs",
        was=train.steps,
        remedy="pass --config.train.steps=100, say",
    )
    _require(
        train.micro_batch is None or (train.micro_batch > 0 and train.batch_size % train.micro_batch == 0),
        "train.micro_batch",
        expected=f"a divisor of batch_size {train.batch_size}, or None to choose what fits in memory",
        was=train.micro_batch,
        remedy="pass a divisor, or leave it out",
    )
    _require(
        config.model.dtype != "float64",
        "model.dtype",
        expected="bfloat16, float16 or float32",
        was="float64",
        remedy="use one of these; float64 is only for tests that compare layouts, with jax_enable_x64",
    )


def _check_results(config: ml_collections.ConfigDict) -> None:
    for section in ("convert", "generate"):
        _require(
            config[section].format in FORMATS,
            f"{section}.format",
            expected=f"one of {FORMATS}",
            was=config[section].format,
            remedy=f"pass --config.{section}.format=",
        )
    _require(
        config.convert.past_midnight in PAST_MIDNIGHT,
        "convert.past_midnight",
        expected=f"one of {PAST_MIDNIGHT}",
        was=config.convert.past_midnight,
        remedy="refuse stops at the first such event; cut leaves them out; continue counts beyond 86,400 seconds",
    )
    _require(
        config.generate.prompts == 1 or config.generate.format == "lobster",
        "generate.format",
        expected="lobster, since generate.prompts is above 1: LOB-Bench's layout has its files",
        was=config.generate.format,
        remedy="leave out one of the two",
    )
    for order in config.generate.orders:
        read_order(order)
    _require(
        config.generate.prompts == 1 or not config.generate.orders,
        "generate.orders",
        expected="no orders, since generate.prompts is above 1: a limit is a price on the book of one prompt",
        was=config.generate.orders,
        remedy="leave out one of the two",
    )
    counts = "generate.prompts generate.prompt_events sweep.trials overfit.steps inspect.levels convert.levels"
    for name in [*counts.split(), "evaluate.batch_size"]:
        section, key = name.split(".")
        _require_count(config, section, key)
    _require_count(config, "evaluate", "direction_events", least=0)
    _check_manipulated(config)
    for name, value in {"overfit.target": config.overfit.target, "find_lr.lowest": config.find_lr.lowest}.items():
        _require(value > 0, name, expected="a number above 0", was=value, remedy="raise it")
    orders = config.evaluate.ngram_orders
    _require(
        len(orders) > 0 and all(1 <= order <= MOST_ORDER for order in orders),
        "evaluate.ngram_orders",
        expected=f"at least one whole number from 1 to {MOST_ORDER}",
        was=orders,
        remedy="1,2,3,4,5 are usual",
    )


def _check_manipulated(config: ml_collections.ConfigDict) -> None:
    """Check on which manipulated streams a model is tested: it has to predict the events of one instrument."""
    patterns, model = config.evaluate.manipulated, config.model
    _require_count(config, "evaluate", "manipulated_records")
    _require(
        set(patterns) <= set(PATTERNS),
        "evaluate.manipulated",
        expected=f"any of {', '.join(PATTERNS)}, by commas, or nothing",
        was=patterns,
        remedy="correct it",
    )
    if patterns:
        tokenizer = tokenizer_class(config.tokens.kind, where="config.tokens.kind")
        require(tokenizer, Ability.EVENTS, what="a test on manipulated flow", where="config.evaluate.manipulated")
        _require(
            model.causal and not model.attention.cross_asset,
            "evaluate.manipulated",
            expected="nothing, since this model does not predict the events of one instrument from those before",
            was=patterns,
            remedy="pass --config.evaluate.manipulated= to leave it out",
        )


def _check_objective(config: ml_collections.ConfigDict) -> None:
    causal, model = OBJECTIVES[config.train.objective].causal, config.model
    _require(
        model.causal == causal,
        "model.causal",
        expected=f"{causal}, since train.objective is {config.train.objective}",
        was=model.causal,
        remedy="masked tokens are predicted from both sides, next tokens from the past; configs/masked.py sets both",
    )
    reason = tokenizer_class(config.tokens.kind, where="config.tokens.kind").lacks.get(Ability.PARTS)
    for name in ("flow_state", "queue_state", "price_memory", "latest_tokens", "pointer"):
        _require(
            causal or not model[name],
            f"model.{name}",
            expected=f"False, since train.objective is {config.train.objective}",
            was=True,
            remedy="leave it out: what follows a masked token would give it away",
        )
    for name in ("queue_state", "price_memory", "pointer"):
        _require(
            not (model[name] and reason),
            f"model.{name}",
            expected=f"False, since {reason}: no token comes between its price and its size",
            was=True,
            remedy="leave it out, or pass --config.tokens.kind=exact",
        )
    _require(
        not (model.gap_components and reason),
        "model.gap_components",
        expected=f"0, since {reason}: no token is a gap's alone",
        was=model.gap_components,
        remedy="leave it out, or pass --config.tokens.kind=exact",
    )
    whole = not causal or model.attention.cross_asset or not is_mask(model.attention.kind)
    _require(
        not (whole and config.train.sample_events),
        "train.sample_events",
        expected="0: this model cannot generate",
        was=config.train.sample_events,
        remedy="leave it out; to generate, use causal attention with a cache, of one instrument",
    )
    _require(
        not (model.attention.cross_asset and model.regime == "prefix"),
        "model.regime",
        expected="none or added, with attention across assets",
        was=model.regime,
        remedy="pass --config.model.regime=added",
    )
    _require(
        causal or model.heads.next_tokens == 1,
        "model.heads.next_tokens",
        expected=f"1, since the objective is {config.train.objective}",
        was=model.heads.next_tokens,
        remedy="leave it out",
    )
    _require(
        not model.heads.contrastive_size or model.regime == "none",
        "model.regime",
        expected="none, since contrastive training predicts the regime, which must not be an input",
        was=model.regime,
        remedy="leave out model.regime or model.heads.contrastive_size",
    )
    _require(
        config.train.mixup == 0 or _mixes(config),
        "train.mixup",
        expected="0, unless the loss is that of the next tokens of one instrument alone",
        was=config.train.mixup,
        remedy="leave it out, or the masked objective, further heads, adversarial training and attention across assets",
    )
    _require(
        config.train.task_weights == "fixed" or len(model_config(config).heads.losses) > 1,
        "train.task_weights",
        expected="fixed: the loss of this model has one part",
        was=config.train.task_weights,
        remedy="leave it out, or add heads: configs/multi_task.py",
    )


def _mixes(config: ml_collections.ConfigDict) -> bool:
    """Return whether windows can be mixed: two windows have no common hidden tokens, no regime or move, and no peer."""
    model, train = model_config(config), config.train
    alone = len(model.heads.losses) == 1 and train.adversarial == "none"
    return OBJECTIVES[train.objective].causal and alone and not model.attention.cross_asset


def _check_searches(config: ml_collections.ConfigDict) -> None:
    find_lr, dropout, pruner = config.find_lr, config.overfit.dropout, config.sweep.pruner
    _require(
        find_lr.highest > find_lr.lowest,
        "find_lr.highest",
        expected=f"more than find_lr.lowest, {find_lr.lowest}",
        was=find_lr.highest,
        remedy="the range from 1e-6 to 0.1 covers most useful rates",
    )
    _require(find_lr.steps >= 10, "find_lr.steps", expected="10 or more", was=find_lr.steps, remedy="200 are usual")
    smoothing, factor = find_lr.smoothing, find_lr.stop_factor
    _require(0 <= smoothing < 1, "find_lr.smoothing", expected="in [0, 1)", was=smoothing, remedy="0.9 is usual")
    _require(factor > 1, "find_lr.stop_factor", expected="more than 1", was=factor, remedy="1.1 is usual")
    _require(
        0 <= dropout < 1,
        "overfit.dropout",
        expected="in [0, 1)",
        was=dropout,
        remedy="the test is meant for a dropout of 0",
    )
    _require(
        pruner in PRUNERS,
        "sweep.pruner",
        expected=f"one of {PRUNERS}",
        was=pruner,
        remedy="median stops a trial that is worse than half of those before it; none never stops one",
    )
    for key in ("startup_trials", "warmup_validations"):
        value = config.sweep[key]
        _require(value >= 0, f"sweep.{key}", expected="0 or more", was=value, remedy="raise it")


def _check_forecast(config: ml_collections.ConfigDict) -> None:
    forecast = config.forecast
    for key in ("stride", "seeds"):
        _require(
            forecast[key] > 0, f"forecast.{key}", expected="a positive number", was=forecast[key], remedy="raise it"
        )
    for key, allowed in (("smoothing", SMOOTHINGS), ("protocol", tuple(PROTOCOLS))):
        _require(
            forecast[key] in allowed,
            f"forecast.{key}",
            expected=f"one of {allowed}",
            was=forecast[key],
            remedy=f"pass --config.forecast.{key}={allowed[0]}",
        )
    _require(
        forecast.threshold is None or 0 <= forecast.threshold < 1,
        "forecast.threshold",
        expected="in [0, 1), or None for thresholds fitted on the training split",
        was=forecast.threshold,
        remedy="leave it out; FI-2010 has 0.002",
    )
    _require(
        not (forecast.onnx and forecast.model == "transformer"),
        "forecast.onnx",
        expected="False with forecast.model=transformer",
        was=True,
        remedy="write the graphs of a trained transformer with --mode=export",
    )
    fit_config(config)
    shape = forecast_config(config, instruments=1)
    longest = max(shape.horizons)
    _require(
        forecast.block_events >= longest,
        "forecast.block_events",
        expected=f"at least the longest horizon, {longest}",
        was=forecast.block_events,
        remedy="several times the horizon is usual",
    )


def _check_score(config: ml_collections.ConfigDict) -> None:
    for key in ("events", "splits", "block"):
        _require_count(config, "score", key)
    _require_count(config, "score", "resamples", least=2)
    _require_count(config, "score", "levels", least=0)
    _require_count(config, "score", "seed", least=0, most=MOST_SEED)
    for key, names in (("baselines", BASELINES), ("networks", NETWORKS)):
        _require(
            set(config.score[key]) <= set(names),
            f"score.{key}",
            expected=" | ".join(names),
            was=[name for name in config.score[key] if name not in names],
            remedy="choose of these, separated by commas, or leave it out",
        )
    _require(
        not config.score.baselines or bool(config.score.training),
        "score.training",
        expected="real flow to fit the baselines on",
        was="nothing",
        remedy="pass --config.score.training=FOLDER, of flow from before the real sequences",
    )
    if config.score.tick is not None:
        parse_step(config.score.tick, where="config.score.tick")


def validate(config: ml_collections.ConfigDict) -> None:
    """Check that every key is present, with a value of its type and in its range, and that the values fit together.

    Raises:
      InputError: names the first invalid key, what was expected and what it is.
    """
    check_like(config, defaults())
    _check_seed(config)
    _check_data(config)
    _check_records(config)
    _check_augment(config)
    _check_run(config)
    _check_results(config)
    _check_searches(config)
    _check_forecast(config)
    _check_score(config)
    _check_objective(config)
    model_config(config)
    train_config(config)
    export_config(config)
    prune_config(config)
    search_space(config)
    sampling_config(config)
    generation_backend(config)
