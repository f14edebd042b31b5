"""The shape of a model: one frozen dataclass, checked when it is made."""

import dataclasses

from lob_jax.errors import InputError

NORMS = ("pre", "post")
POSITIONS = ("learned", "sinusoidal", "rotary")
DTYPES = ("bfloat16", "float16", "float32", "float64")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Describe a LOBTransformer completely; there are no defaults.

    Raises:
      InputError: a value is out of range, or two values do not fit together.

    Attributes:
      d_model: width of the residual stream, D.
      n_layers: transformer blocks, L.
      n_heads: attention heads, N; divides d_model into heads of size H = D / N.
      d_ff: hidden width of the feed-forward network, F.
      vocab_size: token ids, V.
      max_seq_length: longest sequence, in tokens.
      dropout: share of activations dropped in training, 0 <= dropout < 1.
      tie_embeddings: the output projection is the token table.
      norm: "pre" (normalise what a sublayer reads) or "post" (normalise what it leaves).
      positions: "learned", "sinusoidal" or "rotary".
      time_of_day: embed the time-of-day bucket.
      time_buckets: buckets in a day.
      day_of_week: embed the day of the week.
      book_state: condition on features of the book.
      book_features: features of one book state; 0 where book_state is False is as good as any.
      dtype: of the computation: "bfloat16", "float16", "float32" or, where jax_enable_x64 is set, "float64".
    """

    d_model: int
    n_layers: int
    n_heads: int
    d_ff: int
    vocab_size: int
    max_seq_length: int
    dropout: float
    tie_embeddings: bool
    norm: str
    positions: str
    time_of_day: bool
    time_buckets: int
    day_of_week: bool
    book_state: bool
    book_features: int
    dtype: str

    def __post_init__(self) -> None:
        _check_sizes(self)
        _check_choices(self)
        _check_fit(self)

    @property
    def head_size(self) -> int:
        """Return H, the size of one attention head."""
        return self.d_model // self.n_heads

    @property
    def param_dtype(self) -> str:
        """Return the dtype of parameters, norms, softmax and loss: float32, or float64 for a model in float64."""
        return full_precision(self.dtype)


def full_precision(dtype: str) -> str:
    """Return the dtype that sums are taken in, in a model that computes in `dtype`."""
    return "float64" if dtype == "float64" else "float32"


def _check_sizes(config: ModelConfig) -> None:
    positive = ["d_model", "n_layers", "n_heads", "d_ff", "vocab_size", "max_seq_length"]
    positive += ["time_buckets"] * config.time_of_day + ["book_features"] * config.book_state
    for name in positive:
        size = getattr(config, name)
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise _fault(name, expected="a whole number of at least 1", was=size, remedy="give a positive size")
    if not 0 <= config.dropout < 1:
        raise _fault("dropout", expected="0 <= dropout < 1", was=config.dropout, remedy="0.1 is usual; 0 is none")


def _check_choices(config: ModelConfig) -> None:
    for name, choices in (("norm", NORMS), ("positions", POSITIONS), ("dtype", DTYPES)):
        if getattr(config, name) not in choices:
            raise _fault(name, expected=" | ".join(choices), was=getattr(config, name), remedy="choose one of these")


def _check_fit(config: ModelConfig) -> None:
    if config.d_model % config.n_heads:
        raise _fault(
            "n_heads",
            expected=f"a divisor of d_model = {config.d_model}",
            was=config.n_heads,
            remedy="change n_heads or d_model so that heads have a whole size",
        )
    if config.positions == "rotary" and config.head_size % 2:
        raise _fault(
            "n_heads",
            expected="an even head size, since rotary positions turn pairs",
            was=f"{config.d_model} / {config.n_heads} = {config.head_size}",
            remedy="change n_heads, or choose learned positions",
        )
    if config.positions == "sinusoidal" and config.d_model % 2:
        raise _fault(
            "d_model",
            expected="an even width, since sines and cosines come in pairs",
            was=config.d_model,
            remedy="make d_model even, or choose learned positions",
        )


def _fault(name: str, *, expected: object, was: object, remedy: str) -> InputError:
    return InputError(
        f"model.{name} does not describe a model", where=f"model.{name}", expected=expected, was=was, remedy=remedy
    )
