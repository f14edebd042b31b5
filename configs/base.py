"""LOB-Base, 12 x 768 x 12: the home of every default.

Every key that lob_jax reads is here, with its unit; other configs are these values plus a few lines.
"""

import ml_collections
from ml_collections import config_dict


def get_config() -> ml_collections.ConfigDict:
    """Return the configuration of LOB-Base."""
    config = ml_collections.ConfigDict()
    config.seed = 0  # of initial weights, dropout and the order of the data

    config.data = data = ml_collections.ConfigDict()
    # auto, synthetic, or a folder of lob_jax/feeds, such as lobster; auto is the format of the files, or the
    data.feed = "auto"  # simulator where no path is named
    data.path = ""  # a file, or a folder of files; ~ is the home folder; empty for the simulator
    data.symbols = ""  # of files that hold several, such as "AAPL,GOOG"; empty for all; names of simulated ones
    data.tick = config_dict.placeholder(str)  # smallest price step, such as "0.01"; None infers it from the day
    data.lot = config_dict.placeholder(str)  # unit of size, such as "0.001"; None infers it from the day
    data.columns = ""  # of a table: what it calls our columns, such as "time_ns=ts,price=px"; empty for our names
    data.time_zone = config_dict.placeholder(str)  # of a table: the venue's clock, such as "America/New_York"
    data.order_book = "required"  # required | none: LOBSTER's order-book file; none builds the book from the messages
    data.on_error = "strict"  # strict | skip | quarantine: what becomes of rows that are not what the format says
    data.processes = config_dict.placeholder(int)  # processes that prepare days; None for one a core
    data.runner = config_dict.placeholder(str)  # prepare on Apache Beam: DirectRunner, DataflowRunner, ...
    data.runner_options = ""  # of the Beam pipeline, such as "--project=p --region=r --temp_location=gs://b/t"
    data.synthetic_days = 5  # trading days to simulate, one random seed each
    data.synthetic_events = 150_000  # events a simulated day, about
    data.train_fraction = 0.7  # of a single day's events; three days or more are split by day
    data.validation_fraction = 0.1  # of a single day's events
    data.embargo_events = 520  # events between two splits of one day, in neither of them
    data.record_events = 1024  # events a record; a record decodes alone
    data.volatility_regimes = 3  # quantiles of the training split's realised volatility ...
    data.spread_regimes = 2  # ... by quantiles of its spread: together the regimes that a model may be conditioned on
    data.book_levels = 5  # occupied levels a side that the book features see
    data.workers = 0  # processes that read records; 0 reads in this one

    config.tokens = tokens = ml_collections.ConfigDict()
    tokens.kind = "exact"  # about five tokens an event that say all of it; or compact, one token, by bins fitted to it
    tokens.time_digits = config_dict.placeholder(int)  # 2, 5 or 8 significant digits of a gap; None keeps every ns

    config.model = model = ml_collections.ConfigDict()
    model.d_model = 768
    model.n_layers = 12
    model.n_heads = 12
    model.d_ff = 3072
    model.vocab_size = 10_000
    model.max_seq_length = 1024  # tokens
    model.dropout = 0.1
    model.tie_embeddings = True
    model.norm = "pre"  # pre | post
    model.activation = "gelu"  # gelu | swiglu
    model.positions = "learned"  # learned | sinusoidal | rotary | rotary_time: half by position, half by elapsed time
    model.time_of_day = True  # embed the time-of-day bucket
    model.time_buckets = 288  # buckets in a day: 288 are five minutes each
    model.day_of_week = True  # embed the day of the week
    model.book_state = False  # condition on features of the book
    model.regime = "none"  # condition on the market's regime: none | added (to each token) | prefix (of the window)
    model.n_instruments = 0  # instruments that the model tells apart; 0 for none
    model.causal = True  # a token sees no later one; False is for train.objective = masked
    model.scan_layers = False  # one compiled block for all layers: compiles faster, changes no numbers
    model.remat = "none"  # none | dots | full: what is computed anew for the backward pass, to save memory
    model.dtype = "bfloat16"  # of the computation: bfloat16 | float16 | float32; parameters stay float32

    model.attention = attention = ml_collections.ConfigDict()
    attention.kind = "full"  # how tokens see one another: a module of lob_jax/models/attention/kinds
    attention.backend = "auto"  # auto | xla | cudnn | splash: what computes full attention
    attention.qk_norm = False  # normalise each head's queries and keys
    attention.horizons = ("16 events", "128 events", "10 s", "all")  # of multi_scale; each for as many heads
    attention.block = 64  # tokens a block, of block_sparse, performer and linformer
    attention.local_blocks = 4  # of block_sparse: neighbouring blocks seen, a token's own included
    attention.global_blocks = 2  # of block_sparse: first blocks of the window, seen by all
    attention.random_features = 128  # of performer, a head
    attention.summaries = 64  # of linformer: what the past is projected to
    attention.cross_asset = False  # attend to another instrument's tokens, those earlier in time

    model.heads = heads = ml_collections.ConfigDict()
    heads.next_tokens = 1  # tokens ahead that are predicted, each by a head of its own
    heads.outlook_events = ()  # horizons at which the mid-price's direction and volatility are predicted, in events
    heads.contrastive_size = 0  # width of the projection that contrastive training compares; 0 for none

    config.train = train = ml_collections.ConfigDict()
    train.batch_size = 32  # windows a micro-step, over all devices
    train.accumulation = 4  # micro-steps an optimiser step
    train.micro_batch = config_dict.placeholder(int)  # windows in memory at once, a device; None fits the memory
    train.parallel = "jit"  # jit | pmap: over a mesh of devices, or a whole copy of everything on each of them
    train.fsdp = 1  # devices that share one copy of the parameters, each with windows of its own
    train.tensor = 1  # devices that share one copy and the work on the same windows
    train.loss_block = config_dict.placeholder(int)  # positions whose logits exist at once; None for all
    train.objective = "next_token"  # what is predicted: a module of lob_jax/training/step/objectives
    train.mask_share = 0.15  # of the tokens, hidden where the objective is masked
    train.ahead_weight = 0.3  # of each further token ahead, beside 1 for the next; where the model has such heads
    train.outlook_weight = 0.3  # of direction and volatility, each, where the model has such heads
    train.contrastive_weight = 0.1  # of telling regimes apart, where the model has such a head
    train.contrastive_temperature = 0.1  # of the similarities that it compares
    train.epochs = 100  # passes over the training windows
    train.steps = config_dict.placeholder(int)  # optimiser steps; None derives them from epochs
    train.max_hours = config_dict.placeholder(float)  # of the command; then save and end; None for no limit
    train.optimizer = "adamw"  # adamw | muon
    train.learning_rate = 6e-4
    train.schedule = "cosine"  # cosine | wsd: fall all the way, or stay at the peak and fall at the end
    train.decay_fraction = 0.2  # of the updates, over which wsd falls
    train.warmup_steps = 200
    train.final_lr_fraction = 0.1  # of learning_rate, where the schedule ends
    train.weight_decay = 0.01  # none on norms and biases
    train.beta1 = 0.9
    train.beta2 = 0.95
    train.clip = 1.0  # global gradient norm
    train.ema_decay = config_dict.placeholder(float)  # of averaged parameters to validate and keep; None for none
    train.max_skipped = 10  # steps in a row without a finite gradient; the last of them ends the run
    train.log_every = 10  # optimiser steps
    train.validate_every = 200  # optimiser steps; a checkpoint is saved at each validation
    train.validation_windows = 256  # windows a validation, the same ones every time
    train.keep_best = 3  # checkpoints, by validation loss, beside the latest
    train.patience = 10  # validations without improvement before stopping
    train.sample_events = 0  # events generated at each validation, to be looked at; 0 for none
    train.profile_step = config_dict.placeholder(int)  # a profiler trace begins before this step; None for none
    train.profile_steps = 3  # steps of that trace

    config.find_lr = find_lr = ml_collections.ConfigDict()
    find_lr.lowest = 1e-6  # learning rate of the first step
    find_lr.highest = 0.1  # learning rate of the last step
    find_lr.steps = 200  # optimiser steps from one to the other
    find_lr.smoothing = 0.9  # share of the past in the running average of the loss
    find_lr.stop_factor = 1.1  # stop where the smoothed loss is this multiple of its lowest

    config.overfit = overfit = ml_collections.ConfigDict()
    overfit.steps = 400  # optimiser steps on the same batch, at most
    overfit.target = 0.5  # nats a token that the loss must fall below
    overfit.dropout = 0.0  # in place of model.dropout

    config.sweep = sweep = ml_collections.ConfigDict()
    sweep.trials = 20  # in all; those before a restart count
    sweep.startup_trials = 5  # trials drawn at random, and trials finished before any is pruned
    sweep.pruner = "median"  # median | hyperband | none: which trials are stopped early
    sweep.warmup_validations = 2  # validations of a trial before it may be pruned
    # <key>=uniform(low,high), log(low,high) or choice(a,b,...), by spaces; keys of model and train
    sweep.space = "train.learning_rate=log(1e-4,1e-2) train.weight_decay=log(1e-3,0.3) model.dropout=uniform(0,0.3)"

    config.forecast = forecast = ml_collections.ConfigDict()
    forecast.model = "transformer"  # tft | deeplob | linear | transformer: what --mode=forecast trains
    forecast.history = (
        100  # events in front of an anchor that are seen; the transformer sees model.max_seq_length tokens
    )
    forecast.horizons = (10, 20, 50, 100)  # events ahead
    forecast.levels = 10  # levels a side of the book states that are seen
    forecast.stride = 5  # every so many-th event is an anchor: neighbours share nearly all that they see
    forecast.seeds = 1  # runs, from config.seed on, whose scores are averaged
    forecast.clock = True  # the TFT sees the time of day and the day of the week
    forecast.width = 32  # of the TFT
    forecast.heads = 4  # of the TFT's attention
    forecast.quantiles = (0.1, 0.5, 0.9)  # of the mid's move in ticks, that the TFT predicts
    forecast.filters = 16  # of DeepLOB's convolutions
    forecast.inception = 32  # filters of each branch of DeepLOB's inception module
    forecast.units = 64  # of DeepLOB's LSTM
    forecast.dropout = 0.1  # of the TFT and of DeepLOB; the transformer's is model.dropout
    forecast.batch_size = 64  # examples a step
    forecast.steps = 5000  # most optimiser steps
    forecast.learning_rate = 1e-3  # at its peak; it warms up over a twentieth of the steps and falls to 0 as a cosine
    forecast.weight_decay = 0.01  # on matrices alone
    forecast.clip = 1.0  # global gradient norm
    forecast.validate_every = 200  # optimiser steps
    forecast.patience = 5  # validations without improvement before stopping
    forecast.block_events = 500  # events a block of the bootstrap, at least the longest horizon

    config.evaluate = evaluate = ml_collections.ConfigDict()
    evaluate.batch_size = 8  # windows
    evaluate.direction_events = 2000  # events whose price direction is predicted
    evaluate.ngram_orders = (1, 2, 3, 4, 5)  # context lengths that validation chooses from

    config.inspect = inspect = ml_collections.ConfigDict()
    inspect.levels = 20  # occupied levels a side that tables and figures see

    config.convert = convert = ml_collections.ConfigDict()
    convert.format = "parquet"  # lobster | hftbacktest | parquet
    convert.levels = 10  # occupied levels a side of a LOBSTER order book
    convert.past_midnight = "refuse"  # refuse | cut | continue (at 86,400 s): what comes after a LOBSTER pair's day

    config.generate = generate = ml_collections.ConfigDict()
    generate.paths = 4  # continuations of the same prompt
    generate.events = 500  # a path
    generate.prompt_events = 100  # real test events in front of each path
    generate.temperature = 1.0
    generate.top_k = 0  # most likely tokens of a class to choose from; 0 for all
    generate.top_p = 1.0  # most likely tokens that together reach this share of their class; 1 for all
    generate.min_p = 0.0  # tokens of a class at least this share as likely as its most likely one; 0 for all
    generate.format = "lobster"  # of the files of a path: lobster, hftbacktest or parquet
    generate.seed = 0
    generate.name = ""  # of the result's folder in generated/, which must be new; empty for the next number

    return config
