"""The configuration of a model: frozen dataclasses that are validated when they are created."""

import dataclasses
import json
import re
from typing import Any

from lob_jax.errors import InputError
from lob_jax.models.attention.kind import KINDS
from lob_jax.tokens.vocabulary import VOCAB_SIZE

FEWEST_COUNT_ROWS = 16

DTYPES = ("bfloat16", "float16", "float32", "float64")
CHOICES = {
    "norm": ("pre", "post"),
    "positions": ("learned", "sinusoidal", "rotary", "rotary_time"),
    "activation": ("gelu", "swiglu"),
    "regime": ("none", "added", "prefix"),
    "mask": ("none", "grammar", "book"),
    "remat": ("none", "dots", "full"),
    "dtype": DTYPES,
}
BACKENDS = ("auto", "xla", "cudnn", "splash")
LEAST = {"block": 1, "local_blocks": 1, "global_blocks": 0, "random_features": 1, "summaries": 1}
SETTINGS = ("horizons", *LEAST)  # fields of AttentionConfig that only some kinds read
HORIZON = re.compile(r"all|(?P<events>[1-9]\d*) events?|(?P<seconds>\d+(\.\d+)?) s")


@dataclasses.dataclass(frozen=True)
class AttentionConfig:
    """Describe how tokens attend to one another; there are no defaults.

    Attributes:
      kind: a module of `models/attention/kinds/`, such as "full".
      backend: implementation of full attention: "xla", "cudnn" (NVIDIA), "splash" (TPU), or "auto", the fastest that
        supports the platform and the shapes.
      qk_norm: whether to normalise each head's queries and keys (Henry et al., 2020).
      horizons: for multi_scale, how far back heads see: "16 events", "1.5 s" or "all"; each for an equal number of
        heads.
      block: tokens per block, for block_sparse, linformer and performer.
      local_blocks: for block_sparse, neighbouring blocks that a block sees, itself included.
      global_blocks: for block_sparse, first blocks of the sequence, which all blocks see.
      random_features: for performer, features per head.
      summaries: for linformer, rows that the past is projected to.
      cross_asset: whether to attend also to earlier tokens of another instrument.
    """

    kind: str
    backend: str
    qk_norm: bool
    horizons: tuple[str, ...]
    block: int
    local_blocks: int
    global_blocks: int
    random_features: int
    summaries: int
    cross_asset: bool

    def __post_init__(self) -> None:
        for name in self.settings:
            if name in LEAST:
                _check_size(f"attention.{name}", getattr(self, name), least=LEAST[name])
        _check_choice("attention.backend", self.backend, BACKENDS)
        for horizon in self.horizons if "horizons" in self.settings else ():
            if HORIZON.fullmatch(horizon) is None:
                raise _fault(
                    "attention.horizons",
                    expected='"16 events", "1.5 s" or "all", each',
                    was=horizon,
                    remedy="correct it",
                )

    @property
    def settings(self) -> tuple[str, ...]:
        """Return the names of the fields that the kind reads.

        Raises:
          InputError: the kind does not exist.
        """
        return KINDS[self.kind].settings

    def spans(self) -> list[tuple[int | None, float | None]]:
        """Return each horizon as (events, seconds), at most one of which is not None; for "all", both are."""
        matches = [HORIZON.fullmatch(horizon) for horizon in self.horizons]
        return [
            (int(match["events"]) if match["events"] else None, float(match["seconds"]) if match["seconds"] else None)
            for match in matches
            if match
        ]


@dataclasses.dataclass(frozen=True)
class HeadsConfig:
    """Describe what a model predicts in addition to the next token; there are no defaults.

    Attributes:
      next_tokens: number of tokens ahead that are predicted, each by a separate head; 1 for only the next token.
      outlook_events: horizons, in events, at which direction and realised volatility of the mid price are predicted.
      contrastive_size: width of the projection that contrastive training compares; 0 for none.
    """

    next_tokens: int
    outlook_events: tuple[int, ...]
    contrastive_size: int

    def __post_init__(self) -> None:
        _check_size("heads.next_tokens", self.next_tokens)
        for events in self.outlook_events:
            _check_size("heads.outlook_events", events)
        if self.contrastive_size < 0:
            raise _fault("heads.contrastive_size", expected="0 or more", was=self.contrastive_size, remedy="0 is none")

    @property
    def losses(self) -> tuple[str, ...]:
        """Return the names of the parts that the loss of a model with these heads has, see `training.step.parts`."""
        further = {
            ("ahead",): self.next_tokens > 1,
            ("direction", "volatility"): bool(self.outlook_events),
            ("contrastive",): self.contrastive_size > 0,
        }
        return ("token", *(name for names, there in further.items() if there for name in names))


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Describe a LOBTransformer completely; there are no defaults.

    Raises:
      InputError: a value is out of range, or two values are incompatible.

    Attributes:
      d_model: width of the residual stream, D.
      n_layers: transformer blocks, L.
      n_heads: attention heads, N.
      head_size: width of one head, H; 0 for D / N, which must then be a whole number. N H need not be D.
      d_ff: hidden width of the feed-forward network, F.
      vocab_size: token ids, V.
      max_seq_length: maximum sequence length, in tokens.
      dropout: fraction of activations dropped in training, 0 <= dropout < 1.
      tie_embeddings: whether the output projection is the token embedding.
      norm: "pre" (normalise the input of a sublayer) or "post" (normalise the sum of its input and output).
      activation: activation of the feed-forward network: "gelu" or "swiglu" (Shazeer, 2020), which has a third matrix.
      positions: "learned", "sinusoidal", "rotary", or "rotary_time", which rotates half of each head by position and
        the other half by elapsed time.
      time_of_day: whether to embed the time-of-day bucket.
      time_buckets: buckets per day.
      day_of_week: whether to embed the day of the week.
      book_state: whether to condition on features of the book.
      book_features: features of one book state; ignored if book_state is False.
      standardize_book: whether book features are standardised by their mean and standard deviation in training, which
        are among the parameters and stay as they are.
      flow_state: whether to condition on what the recent stream of events was, see `lob_jax.book.flow`; its features
        are always standardised.
      queue_state: whether to condition each token on the orders at the price that is spelled so far, and on the last
        sizes of its side, see `lob_jax.book.queue`.
      price_memory: whether to condition each token on what last happened at the price that is spelled so far, see
        `lob_jax.book.price_memory`.
      latest_tokens: whether to condition each token on the latest heads, sizes and leading gaps, see
        `lob_jax.tokens.latest`.
      token_parts: whether the embedding of a token is also the sum of those of its parts, see `models.parts`.
      digits_rank: rank of the output projection of further digits, which are mostly noise; 0 for that of all tokens.
      gap_components: log-normal components of a gap's leading code, beside its softmax, see `models.gaps`; 0 for none.
      counts: rows of each table of the count model that is mixed with the network, a power of two, see
        `models.expert`; 0 for none.
      pointer: whether levels, last prices, orders and last sizes are candidates for the next token, see
        `models.pointer`.
      regime: conditioning on the market's regime: "none", "added" to each token, or a "prefix" token of the window.
      n_regimes: number of regimes.
      n_instruments: number of instruments to embed; 0 for no embedding of the instrument.
      attention: how tokens attend to one another.
      heads: what is predicted in addition to the next token.
      causal: whether tokens see only earlier ones and themselves; False is only for masked-token training.
      mask: over which tokens the distribution of the next one is normalised: all ("none"), those that the grammar
        allows ("grammar"), or those that the book allows too, with a fitted share for the exceptions of real data
        ("book"), see `models.masking`. Further tokens ahead are predicted over all tokens.
      scan_layers: whether to stack the blocks' parameters and scan one compiled block over them; changes no numbers.
      remat: what the backward pass recomputes instead of keeping: "none", all but matrix products ("dots"), or complete
        blocks ("full"); changes no numbers.
      dtype: dtype of the computation: "bfloat16", "float16", "float32" or, with jax_enable_x64, "float64".
    """

    d_model: int
    n_layers: int
    n_heads: int
    head_size: int
    d_ff: int
    vocab_size: int
    max_seq_length: int
    dropout: float
    tie_embeddings: bool
    norm: str
    activation: str
    positions: str
    time_of_day: bool
    time_buckets: int
    day_of_week: bool
    book_state: bool
    book_features: int
    standardize_book: bool
    flow_state: bool
    queue_state: bool
    price_memory: bool
    latest_tokens: bool
    token_parts: bool
    digits_rank: int
    gap_components: int
    counts: int
    pointer: bool
    regime: str
    n_regimes: int
    n_instruments: int
    attention: AttentionConfig
    heads: HeadsConfig
    causal: bool
    mask: str
    scan_layers: bool
    remat: str
    dtype: str

    def __post_init__(self) -> None:
        _check_sizes(self)
        _check_choices(self)
        _check_fit(self)
        _check_latest(self)
        _check_pointer(self)
        _check_counts(self)
        _check_attention(self)

    @property
    def head_width(self) -> int:
        """Return H, the width of one attention head: `head_size`, or D / N if that is 0."""
        return self.head_size or self.d_model // self.n_heads

    @property
    def needs_clock(self) -> bool:
        """Return whether the model reads the time at each token in nanoseconds."""
        seconds = "horizons" in self.attention.settings and any(s is not None for _, s in self.attention.spans())
        return self.positions == "rotary_time" or self.attention.cross_asset or seconds

    @property
    def needs_events(self) -> bool:
        """Return whether the model reads which event each token belongs to."""
        return "horizons" in self.attention.settings and any(e is not None for e, _ in self.attention.spans())

    @property
    def standardized(self) -> tuple[str, ...]:
        """Return the names of the inputs whose features are standardised by moments among the parameters."""
        return ("book",) * (self.book_state and self.standardize_book) + ("flow",) * self.flow_state

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values, equal to those that are read back from JSON."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @property
    def param_dtype(self) -> str:
        """Return the dtype of parameters, norms, softmax and loss: float32, or float64 for a model in float64."""
        return full_precision(self.dtype)


def full_precision(dtype: str) -> str:
    """Return the dtype of sums in a model that computes in `dtype`."""
    return "float64" if dtype == "float64" else "float32"


def _check_size(name: str, size: object, *, least: int = 1) -> None:
    if isinstance(size, bool) or not isinstance(size, int) or size < least:
        raise _fault(name, expected=f"a whole number of at least {least}", was=size, remedy=f"give {least} or more")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise _fault(name, expected=" | ".join(choices), was=value, remedy="choose one of these")


def _check_sizes(config: ModelConfig) -> None:
    positive = ["d_model", "n_layers", "n_heads", "d_ff", "vocab_size", "max_seq_length"]
    positive += ["time_buckets"] * config.time_of_day + ["book_features"] * config.book_state
    positive += ["n_regimes"] * (config.regime != "none")
    for name in positive:
        _check_size(name, getattr(config, name))
    for name in ("digits_rank", "gap_components", "head_size"):
        _check_size(name, getattr(config, name), least=0)
    for name in ("token_parts", "digits_rank", "gap_components", "latest_tokens"):
        if getattr(config, name) and config.vocab_size != VOCAB_SIZE:
            raise _fault(
                name,
                expected=f"{type(getattr(config, name))()}, unless the vocabulary has {VOCAB_SIZE:,} tokens",
                was=getattr(config, name),
                remedy="leave it out: only there do ids say which class a token is of, and which number",
            )
    if config.n_instruments < 0:
        raise _fault(
            "n_instruments",
            expected="0 or more",
            was=config.n_instruments,
            remedy="0 is none",
        )
    if not 0 <= config.dropout < 1:
        raise _fault("dropout", expected="0 <= dropout < 1", was=config.dropout, remedy="0.1 is usual; 0 is none")


def _check_choices(config: ModelConfig) -> None:
    for name, choices in CHOICES.items():
        _check_choice(name, getattr(config, name), choices)


def _check_fit(config: ModelConfig) -> None:
    if not config.head_size and config.d_model % config.n_heads:
        raise _fault(
            "n_heads",
            expected=f"a divisor of d_model = {config.d_model}, since head_size is 0",
            was=config.n_heads,
            remedy="change n_heads or d_model so that the head size is a whole number, or give head_size",
        )
    pairs = {"rotary": 2, "rotary_time": 4}.get(config.positions, 2 if config.attention.cross_asset else 1)
    if config.head_width % pairs:
        derived = f"{config.d_model} / {config.n_heads} = {config.head_width}"
        raise _fault(
            "head_size" if config.head_size else "n_heads",
            expected=f"a head size that {pairs} divides, since rotary positions turn pairs",
            was=config.head_size or derived,
            remedy=f"change {'head_size' if config.head_size else 'n_heads'}, or choose learned positions",
        )
    if config.positions == "sinusoidal" and config.d_model % 2:
        raise _fault(
            "d_model",
            expected="an even width, since sines and cosines come in pairs",
            was=config.d_model,
            remedy="make d_model even, or choose learned positions",
        )
    if config.mask != "none" and (not config.causal or config.vocab_size % 80):
        raise _fault(
            "mask",
            expected="none, unless the model is causal and the size of its vocabulary a multiple of 80",
            was=f"{config.mask}, with causal = {config.causal} and vocab_size = {config.vocab_size}",
            remedy="leave it out: what may come next does not say which tokens are hidden",
        )


def _check_latest(config: ModelConfig) -> None:
    if config.latest_tokens and not config.causal:
        raise _fault(
            "latest_tokens",
            expected="False, unless the model is causal",
            was=config.latest_tokens,
            remedy="leave it out: it would tell a model which tokens are hidden",
        )


def _check_pointer(config: ModelConfig) -> None:
    if config.pointer and (not config.causal or config.heads.next_tokens > 1 or config.vocab_size != VOCAB_SIZE):
        raise _fault(
            "pointer",
            expected=f"False, unless the model is causal, predicts one token ahead and has {VOCAB_SIZE:,} tokens",
            was=f"True, with causal = {config.causal}, heads.next_tokens = {config.heads.next_tokens} and vocab_size = "
            f"{config.vocab_size:,}",
            remedy="leave it out: candidates are known only for the next token",
        )


def _check_counts(config: ModelConfig) -> None:
    if not config.counts:
        return
    rows = config.counts
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < FEWEST_COUNT_ROWS or rows & (rows - 1):
        raise _fault(
            "counts",
            expected=f"0, or a power of two from {FEWEST_COUNT_ROWS} on",
            was=rows,
            remedy="8192 is usual for a day; 0 is none",
        )
    if not config.pointer or config.attention.cross_asset:
        raise _fault(
            "counts",
            expected="0, unless the model has a pointer and reads one asset",
            was=rows,
            remedy="leave it out, or set model.pointer: contexts are made of what the pointer reads",
        )


def _check_attention(config: ModelConfig) -> None:
    attention = config.attention
    if "horizons" in attention.settings and (not attention.horizons or config.n_heads % len(attention.horizons)):
        raise _fault(
            "attention.horizons",
            expected=f"a number of horizons that divides the {config.n_heads} heads",
            was=attention.horizons,
            remedy="give each horizon as many heads as the others",
        )
    if not config.causal and (not KINDS[attention.kind].both_ways or attention.cross_asset):
        both_ways = " or ".join(kind for kind in KINDS if KINDS[kind].both_ways)
        raise _fault(
            "causal",
            expected=f"True, of all attention but the kinds that see both ways: {both_ways}",
            was=False,
            remedy=f"train masked tokens with attention.kind = {both_ways}",
        )


def _fault(name: str, *, expected: object, was: object, remedy: str) -> InputError:
    return InputError(
        f"model.{name} does not describe a model", where=f"model.{name}", expected=expected, was=was, remedy=remedy
    )
