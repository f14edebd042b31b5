"""LOB-Base, 12 layers x 768 wide x 12 heads: the defaults of all keys.

Every key that lob_jax reads is here, with its unit; the other configurations change a few of these values.
"""

import ml_collections
from ml_collections import config_dict


def get_config() -> ml_collections.ConfigDict:
    """Return the configuration of LOB-Base."""
    config = ml_collections.ConfigDict()
    config.seed = 0  # of initial weights, dropout and the order of the data

    config.data = data = ml_collections.ConfigDict()
    # auto | synthetic | the name of a feed, such as lobster (a folder of lob_jax/feeds)
    data.feed = "auto"  # auto recognises the format of the files at data.path; without a path it simulates
    data.path = ""  # a file, or a folder of files; ~ is the home directory; empty to simulate
    data.symbols = ""  # symbols to read, such as "AAPL,GOOG"; empty for all; when simulating: their names
    data.tick = config_dict.placeholder(str)  # smallest price step, such as "0.01"; None infers it from the day
    data.lot = config_dict.placeholder(str)  # unit of size, such as "0.001"; None infers it from the day
    data.columns = ""  # tables: your names for the columns, such as "time_ns=ts,price=px"; empty if the file uses ours
    data.time_zone = config_dict.placeholder(str)  # tables: time zone of the venue, such as "America/New_York"
    data.order_book = "required"  # LOBSTER: required | none; none rebuilds the book from the messages alone
    data.on_error = "strict"  # bad rows: strict stops at the first | skip counts them | quarantine also copies them
    data.processes = config_dict.placeholder(int)  # processes that prepare days in parallel; None for one per core
    data.runner = config_dict.placeholder(str)  # Apache Beam: DirectRunner, DataflowRunner, ...; None for no Beam
    data.runner_options = ""  # options of the Beam pipeline, such as "--project=p --region=r --temp_location=gs://b/t"
    data.synthetic_days = 5  # trading days to simulate, each with its own random seed
    data.synthetic_events = 150_000  # expected events per simulated day
    data.train_fraction = 0.7  # share of a single day's events; three days or more are split by day instead
    data.validation_fraction = 0.1  # share of a single day's events; the rest is the test split
    data.embargo_events = 520  # events left out between two splits of the same day
    data.record_events = 1024  # events per record; each record can be decoded alone
    data.volatility_regimes = 3  # bins of realised volatility, at quantiles of the training split
    data.spread_regimes = 2  # bins of the spread; a regime is a pair of bins, see model.regime
    data.book_levels = 5  # occupied levels per side in the book features
    data.mirror = False  # train on each window with bids and asks exchanged, too
    data.workers = config_dict.placeholder(int)  # processes that read windows; None: 0 on CPUs, else all cores but one

    # Windows of altered flow to train on, drawn anew for each place in the order of the data; see also data.mirror.
    data.augment = augment = ml_collections.ConfigDict()
    augment.warp = 0.0  # time warping: standard deviation of the log of the factor of gaps, such as 0.3; 0 for none
    augment.warp_events = 50  # events over which the factor of gaps changes
    augment.event_dropout = 0.0  # share of the new orders that are left out, with all their later events
    augment.token_dropout = 0.0  # share of the tokens that the model reads as MASK; all of them stay targets
    augment.manipulation = 0.0  # share of the windows into which a manipulation is spliced, whose events are no targets
    augment.patterns = ("spoofing", "layering", "stuffing")  # kinds of manipulation, by commas
    augment.synthetic = 0.0  # share of the windows that are replaced by windows of synthetic flow
    augment.synthetic_run = ""  # folder of a run whose training records are that flow; empty to simulate it
    augment.own_flow = 0.0  # share of the windows into which flow of the model at train.init is spliced, no targets
    augment.own_events = 20  # events of that flow in a window, at most
    augment.own_prompts = config_dict.placeholder(int)  # places at which it is drawn; None for what own_flow asks for

    config.tokens = tokens = ml_collections.ConfigDict()
    tokens.kind = "exact"  # exact: about five tokens per event, lossless | compact: one token per event, binned
    tokens.time_digits = config_dict.placeholder(int)  # digits kept of the time between events: 2, 5, 8; None for all
    tokens.references = "newest"  # of orders that a removal fits, it takes the newest | rank: a further token names it

    config.model = model = ml_collections.ConfigDict()
    model.d_model = 768  # width of the residual stream
    model.n_layers = 12  # transformer blocks
    model.n_heads = 12  # attention heads per block
    model.head_size = 0  # width of a head; 0 for d_model / n_heads
    model.d_ff = 3072  # hidden width of the feed-forward layers
    model.vocab_size = 10_000  # fixed by the tokenizer
    model.max_seq_length = 1024  # context length in tokens
    model.dropout = 0.1  # dropout rate during training
    model.tie_embeddings = True  # share the token embedding with the output projection
    model.norm = "pre"  # where the layer norms are: pre | post
    model.activation = "gelu"  # of the feed-forward layers: gelu | swiglu
    model.positions = "learned"  # learned | sinusoidal | rotary | rotary_time: half by position, half by elapsed time
    model.time_of_day = True  # embed the time of day, in buckets
    model.time_buckets = 288  # buckets per day; 288 are five minutes each
    model.day_of_week = True  # embed the day of the week
    model.book_state = False  # condition each token on features of the order book
    model.standardize_book = True  # give each book feature mean 0 and variance 1, as measured on the training data
    model.flow_state = False  # condition each token on what the recent stream of events was, beyond the context
    model.queue_state = False  # condition each token on the orders at its event's price, and the last sizes
    model.price_memory = False  # condition each token on what last happened at its event's price
    model.latest_tokens = False  # condition each token on the latest heads, sizes and leading gaps
    model.token_parts = False  # share embeddings between tokens of the same class and side, price, or number
    model.digits_rank = 0  # rank of the output projection of further digits, as of gaps; 0 for that of all tokens
    model.gap_components = 0  # log-normal components of a gap's leading code, beside its softmax; 0 for none
    model.counts = 0  # rows of each table of a count model that is mixed with the network, such as 8192; 0 for none
    model.pointer = False  # levels, orders and the last prices and sizes are candidates for the next token
    model.regime = "none"  # condition on the market regime: none | added (to each token) | prefix (of the window)
    model.n_instruments = 0  # number of instruments that the model can tell apart; 0 for no instrument embedding
    model.causal = True  # no token attends to a later one; False only for train.objective = masked
    model.mask = "none"  # tokens that may come next: none (all) | grammar (well-formed) | book (also possible in it)
    model.scan_layers = False  # compile one block for all layers: compiles faster, same numbers up to rounding
    model.remat = "none"  # recomputed in the backward pass: none | dots (all but matrix products) | full (whole layers)
    model.dtype = "bfloat16"  # computation in bfloat16 | float16 | float32; parameters stay float32

    model.attention = attention = ml_collections.ConfigDict()
    attention.kind = "full"  # a module of lob_jax/models/attention/kinds
    attention.backend = "auto"  # implementation of full attention: auto | xla | cudnn | splash
    attention.qk_norm = False  # normalise queries and keys in each head
    attention.horizons = ("16 events", "128 events", "10 s", "all")  # multi_scale: each for an equal share of the heads
    attention.block = 64  # block_sparse, performer and linformer: tokens per block
    attention.local_blocks = 4  # block_sparse: neighbouring blocks that a token attends to, including its own
    attention.global_blocks = 2  # block_sparse: blocks at the start of the window that every token attends to
    attention.random_features = 128  # performer: random features per head
    attention.summaries = 64  # linformer: number of summaries that the past is projected to
    attention.cross_asset = False  # also attend to a second instrument's tokens that are earlier in time

    model.heads = heads = ml_collections.ConfigDict()
    heads.next_tokens = 1  # tokens ahead to predict, with one head for each
    heads.outlook_events = ()  # horizons in events at which to predict mid-price direction and volatility
    heads.contrastive_size = 0  # width of the projection for contrastive training; 0 for none

    config.train = train = ml_collections.ConfigDict()
    train.batch_size = 32  # windows per micro-step, over all devices
    train.accumulation = 4  # micro-steps per optimiser step
    train.micro_batch = config_dict.placeholder(int)  # windows in memory at once per device; None chooses what fits
    train.parallel = "jit"  # jit: over a mesh of devices | pmap: a full copy of everything on each device
    train.fsdp = 1  # devices that share one copy of the parameters; each has its own windows
    train.tensor = 1  # devices that share one copy of the parameters and the work on the same windows
    train.loss_block = config_dict.placeholder(int)  # positions whose logits are in memory at once; None for all
    train.deterministic = False  # whether a GPU gives the same bits in every run, at a cost; others always do
    train.objective = "next_token"  # what is predicted: a module of lob_jax/training/step/objectives
    train.mask_share = 0.15  # masked objective: share of the tokens that are masked
    train.mask_events = False  # masked objective: mask all tokens of an event together
    train.task_weights = "fixed"  # weights of the loss's parts: fixed (the next keys) | learned (by their uncertainty)
    train.ahead_weight = 0.3  # loss weight of each further token ahead; the next token has 1; see heads.next_tokens
    train.outlook_weight = 0.3  # loss weight of direction and of volatility; see heads.outlook_events
    train.contrastive_weight = 0.1  # weight of the contrastive loss; see heads.contrastive_size
    train.contrastive_temperature = 0.1  # temperature of the similarities in the contrastive loss
    train.contrastive_views = "regimes"  # pulled together: windows of the same regimes | augmented views of a window
    train.view_mask_share = 0.15  # augmented views: share of the tokens that are masked in each
    train.view_mirror = False  # augmented views: half of them are of the mirrored market, bids and asks exchanged
    train.adversarial = "none"  # perturb token embeddings to raise the loss: none | fgm (one step) | pgd (several)
    train.adversarial_eps = 0.1  # norm of the perturbation, as a share of that of the window's token embeddings
    train.adversarial_steps = 3  # steps of pgd
    train.adversarial_weight = 1.0  # loss weight of the perturbed tokens; the unperturbed ones have 1
    train.mixup = 0.0  # alpha of Beta(alpha, alpha), by which two windows' embeddings and losses are mixed; 0 for none
    train.epochs = 100  # passes over the training windows
    train.steps = config_dict.placeholder(int)  # optimiser steps; None derives them from epochs
    train.max_hours = config_dict.placeholder(float)  # save and exit after so many hours; None for no limit
    train.optimizer = "adamw"  # adamw | muon
    train.learning_rate = 6e-4  # peak learning rate, after warm-up
    train.schedule = "cosine"  # cosine: decay throughout | wsd: constant, then decay at the end
    train.decay_fraction = 0.2  # wsd: share of the updates over which the learning rate decays
    train.warmup_steps = 200  # optimiser steps of linear warm-up
    train.final_lr_fraction = 0.1  # final learning rate as a share of learning_rate
    train.weight_decay = 0.01  # not applied to norms and biases
    train.beta1 = 0.9
    train.beta2 = 0.95
    train.clip = 1.0  # maximum global gradient norm
    train.sparsity = 0.0  # share of the weights in matrices that pruning while training makes zero; 0 for none
    train.sparsity_start = 0.1  # share of the updates after which the first weights become zero
    train.sparsity_end = 0.7  # share of the updates after which as many are as there are to be
    train.sparsity_every = 20  # updates between two times at which weights become zero
    train.ema_decay = config_dict.placeholder(float)  # decay of averaged parameters, validated and kept; None for none
    train.max_skipped = 10  # consecutive steps with non-finite gradients before the run ends with an error
    train.log_every = 10  # optimiser steps between log lines
    train.validate_every = 200  # optimiser steps between validations; each saves a checkpoint
    train.validation_windows = 256  # windows per validation, the same every time
    train.keep_best = 3  # checkpoints to keep by validation loss, in addition to the latest
    train.patience = 10  # validations without improvement before training stops early
    train.init = ""  # folder of a trained run to start from; empty for random parameters
    train.init_allow = ()  # patterns of parameters that it need not have, or in another shape, such as outlook_head/*
    train.frozen = ()  # patterns of parameters that stay as they are, such as embeddings/*,blocks_0/*
    train.layer_decay = 1.0  # factor of the learning rate from each layer to the one below it, such as 0.8
    train.lora_rank = 0  # rank of the additions to matrices that are trained instead of all parameters; 0 for none
    train.lora_alpha = 16.0  # the additions are multiplied by lora_alpha / lora_rank
    train.lora_targets = ("*/attention/*", "*/ffn/*")  # patterns of the matrices that have additions
    train.lora_also = ()  # patterns of parameters that are trained beside the additions, such as *norm*,head/bias
    train.sample_events = 0  # events to generate at each validation, into samples.jsonl; 0 for none
    train.profile_step = config_dict.placeholder(int)  # first optimiser step of a profiler trace; None for no trace
    train.profile_steps = 3  # optimiser steps in the trace

    config.find_lr = find_lr = ml_collections.ConfigDict()
    find_lr.lowest = 1e-6  # learning rate of the first step
    find_lr.highest = 0.1  # learning rate of the last step
    find_lr.steps = 200  # optimiser steps from the lowest rate to the highest
    find_lr.smoothing = 0.9  # decay of the running average of the loss, in [0, 1)
    find_lr.stop_factor = 1.1  # stop once the smoothed loss exceeds its minimum by this factor

    config.overfit = overfit = ml_collections.ConfigDict()
    overfit.steps = 400  # maximum number of optimiser steps on the same batch
    overfit.target = 0.5  # loss in nats per token below which the test is passed
    overfit.dropout = 0.0  # replaces model.dropout

    config.sweep = sweep = ml_collections.ConfigDict()
    sweep.trials = 20  # total number of trials, including those before a restart
    sweep.startup_trials = 5  # trials drawn at random; also the trials that must finish before any is pruned
    sweep.pruner = "median"  # which trials to stop early: median | hyperband | none
    sweep.warmup_validations = 2  # validations of a trial before it may be pruned
    # entries <key>=uniform(low,high), <key>=log(low,high) or <key>=choice(a,b,...), for keys of model and train
    sweep.space = "train.learning_rate=log(1e-4,1e-2) train.weight_decay=log(1e-3,0.3) model.dropout=uniform(0,0.3)"

    config.forecast = forecast = ml_collections.ConfigDict()
    forecast.model = "transformer"  # tft | deeplob | linear | transformer: what --mode=forecast trains
    forecast.history = 100  # events before a forecast that the model sees; the transformer sees its context
    forecast.horizons = (10, 20, 50, 100)  # forecast horizons in events
    forecast.smoothing = "both"  # mids averaged in a label: both, (m+ - m-) / m- | future, (m+ - m_t) / m_t
    forecast.threshold = config_dict.placeholder(float)  # relative move up to which it is flat, such as 0.002; None: a
    # threshold per horizon that makes a third of the training moves flat
    forecast.protocol = "days"  # FI-2010: days (the first 7 train, the last 3 test) | folds (9, anchored)
    forecast.levels = 10  # levels per side of the book states that the model sees
    forecast.stride = 5  # events between forecasts; neighbouring ones share nearly all of their history
    forecast.seeds = 1  # training runs, with seeds from config.seed on, whose scores are averaged
    forecast.clock = True  # TFT: also sees the time of day and the day of the week
    forecast.width = 32  # TFT: width of the layers
    forecast.heads = 4  # TFT: attention heads
    forecast.quantiles = (0.1, 0.5, 0.9)  # TFT: predicted quantiles of the mid-price move in ticks
    forecast.filters = 16  # DeepLOB: filters of the convolutions
    forecast.inception = 32  # DeepLOB: filters of each branch of the inception module
    forecast.units = 64  # DeepLOB: units of the LSTM
    forecast.dropout = 0.1  # TFT and DeepLOB; the transformer uses model.dropout
    forecast.batch_size = 64  # examples per step
    forecast.steps = 5000  # maximum number of optimiser steps
    forecast.learning_rate = 1e-3  # peak, after a warm-up over the first 5 % of the steps; cosine decay to 0
    forecast.weight_decay = 0.01  # applied to matrices only
    forecast.clip = 1.0  # maximum global gradient norm
    forecast.validate_every = 200  # optimiser steps between validations
    forecast.patience = 5  # validations without improvement before training stops early
    forecast.block_events = 500  # events per block of the bootstrap, at least the longest horizon
    forecast.onnx = False  # also write it as forecast.onnx, for ONNX Runtime; not with forecast.model=transformer

    config.evaluate = evaluate = ml_collections.ConfigDict()
    evaluate.batch_size = 8  # windows per forward pass
    evaluate.direction_events = 2000  # events for which the direction of the mid price is predicted; 0 for none
    evaluate.ngram_orders = (1, 2, 3, 4, 5)  # context lengths of the n-gram model, chosen from on validation data
    evaluate.manipulated = ()  # spoofing | layering | stuffing, by commas: test records are manipulated so, too
    evaluate.manipulated_records = 8  # test records into which each of these patterns is spliced

    config.inspect = inspect = ml_collections.ConfigDict()
    inspect.levels = 20  # occupied levels per side in tables and figures

    config.convert = convert = ml_collections.ConfigDict()
    convert.format = "parquet"  # lobster | hftbacktest | parquet
    convert.levels = 10  # occupied levels per side of a LOBSTER order book
    convert.past_midnight = "refuse"  # LOBSTER, events after midnight: refuse | cut | continue (at 86,400 s)

    config.prune = prune = ml_collections.ConfigDict()
    prune.into = ""  # folder of the new run that the pruned model is written to; it must not exist
    prune.heads = 0.25  # share of the attention heads to remove from each block, in whole heads
    prune.columns = 0.25  # share of the feed-forward columns to remove from each block, in whole columns
    prune.windows = 256  # training windows on which the importance of heads and columns is measured

    config.compare = compare = ml_collections.ConfigDict()
    compare.runs = ()  # folders of the runs that --mode=compare puts side by side; the first is the reference

    config.generate = generate = ml_collections.ConfigDict()
    generate.prompts = 1  # 1: the first test events; more: spread over the test split, beside what really followed
    generate.paths = 4  # number of continuations of each prompt
    generate.events = 500  # events per path
    generate.prompt_events = 100  # real test events before each path
    generate.temperature = 1.0  # 1 samples from the model's own distribution
    generate.top_k = 0  # sample from the most likely tokens of the class, this many; 0 for all
    generate.top_p = 1.0  # sample from the most likely tokens of the class whose probabilities sum to this; 1 for all
    generate.min_p = 0.0  # sample from tokens with at least this share of the most likely one's probability; 0 for all
    generate.limit_sizes = True  # a size is at most the largest one of its kind in the training split
    generate.orders = ()  # your own, by commas: buy 500 @ 585.33 after 20 (events) | sell 9 @ market at 10:30:05
    generate.format = "lobster"  # format of the files: lobster | hftbacktest | parquet
    generate.seed = 0
    generate.precision = "float32"  # of the weights: float32 | int8 | int8_blocks | int4
    generate.backend = "auto"  # jax | onnx (ONNX Runtime, on the CPU); auto is jax, but onnx for integer weights
    generate.name = ""  # name of the result's folder in generated/, which must not exist; empty for the next number

    config.export = export = ml_collections.ConfigDict()
    export.formats = ("onnx", "stablehlo")  # onnx | stablehlo | saved_model (needs TensorFlow), by commas
    export.precisions = ("int8", "int4")  # of further graphs beside float32: int8 | int8_blocks | int4, by commas
    export.opset = 18  # version of ONNX's operators: 18 | 20 | 24
    export.windows = 32  # validation windows on which each precision is measured
    export.name = "bundle"  # name of the bundle in the run's folder, which must not exist

    config.serve = serve = ml_collections.ConfigDict()
    serve.bundle = ()  # bundles to serve: folder or name=folder, by commas; empty for the run's best checkpoint
    serve.host = "127.0.0.1"  # address to listen at; one that other machines can reach needs keys_file
    serve.port = 8000  # port to listen at; 0 for any that is free
    serve.keys_file = ""  # clients' keys, see python -m lob_jax.serving.http.keys; empty for one key per start
    serve.access_log = True  # a line of JSON for each request, on standard error
    serve.database = ""  # of experiments: sqlite:///FILE or postgresql://USER@HOST/NAME; empty for no experiments
    serve.operators = ()  # names of keys that may create experiments and decide about them over HTTP, by commas
    serve.drain_s = 30.0  # seconds for which requests at work may go on after a signal
    serve.monitor_share = 0.1  # share of what sessions follow that is scored for monitoring; 0 for none
    serve.precision = ""  # of a bundle's weights: float32 | int8 | int8_blocks | int4; empty for the card's choice
    serve.threads = 0  # of ONNX Runtime; 0 for one per core
    serve.rows = 32  # paths that are sampled together
    serve.queue = 64  # requests that may wait; the next one is answered by status 429
    serve.sessions = 64  # sessions that may be open
    serve.sessions_per_key = 16  # sessions of one key
    serve.idle_s = 900.0  # seconds after which an unused session is closed
    serve.deadline_s = 60.0  # longest time for a request, and that of one that names none
    serve.history_events = 5_000  # events of a history, or of one addition to a session
    serve.book_orders = 20_000  # orders of a starting book
    serve.paths = 256  # paths of a request
    serve.events = 1_000  # events of a path
    serve.path_events = 20_000  # paths times events of a request
    serve.infer_tokens = 8_192  # rows times tokens of a request to the graph of complete windows
    serve.infer_values = 4_000_000  # numbers in the answer to it
    serve.rate_per_s = 200.0  # requests of one key per second, in the long run
    serve.burst = 400  # requests of one key at once
    serve.streams = 32  # requests and sockets of one key that may be open at the same time
    serve.connections = 1_000  # connections that may be open; further ones are closed at once
    serve.body_bytes = 1 << 20  # size of a body
    serve.json_depth = 16  # nesting of JSON
    serve.body_s = 30.0  # seconds in which a body has to arrive
    serve.header_s = 10.0  # seconds in which the head of a request has to arrive
    serve.header_bytes = 1 << 16  # size of the head of a request
    serve.keep_alive_s = 30.0  # seconds after which a connection without a request is closed
    serve.stall_s = 60.0  # seconds after which a stream is given up whose reader takes nothing
    serve.quiet_s = 15.0  # seconds after which a stream that has nothing to say sends a comment

    config.experiments = experiments = ml_collections.ConfigDict()
    experiments.name = ""  # the experiment that is shown, with the database at serve.database; empty for a list of all
    experiments.create = ""  # file of JSON with an experiment to create
    experiments.decision = ""  # to record of it: promote | keep | stop | resume
    experiments.arm = ""  # the arm that is promoted or resumed
    experiments.because = ""  # the reason of the decision, which needs one

    config.score = score = ml_collections.ConfigDict()
    score.real = ""  # folder of real sequences in LOB-Bench's layout (data_real), or LOBSTER days
    score.generated = ()  # folders of generated ones (data_gen), one per model: folder or name=folder, by commas
    score.training = ""  # real flow that the models were fitted on, such as a LOBSTER day; empty for none
    score.baselines = ()  # copied_windows | block_bootstrap | zero_order | cont_stoikov_talreja, fitted on training
    score.events = 500  # messages per sequence that LOBSTER days are cut into
    score.levels = 0  # levels per side that are compared; 0 for as many as all flows have
    score.tick = config_dict.placeholder(str)  # smallest price step, such as "0.01"; None infers it from real flow
    score.splits = 50  # random splits of real flow in halves, whose distance is the noise floor
    score.resamples = 100  # bootstrap resamples of the sequences, for the intervals
    score.block = 100  # messages per block of the divergence by horizon
    score.networks = ()  # discriminator (LOB-Bench's) | predictor (an LSTM): trained on each flow, minutes each
    score.seed = 0  # of splits, resamples and networks

    return config
