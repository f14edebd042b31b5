import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob_jax.config.search_space import Choice, Range, describe_space, parse_space, suggest
from lob_jax.errors import InputError
from lob_jax.settings import LARGEST

TYPES = {
    "seed": int,
    "data.tick": str,
    "tokens.time_digits": int,
    "model.max_seq_length": int,
    "model.dropout": float,
    "model.norm": str,
    "model.book_state": bool,
    "train.batch_size": int,
    "train.learning_rate": float,
    "train.warmup_steps": int,
    "train.validate_every": int,
    "generate.paths": int,
}


def parse(text):
    return parse_space(text, types=TYPES)


def test_a_line_becomes_a_space():
    text = "train.learning_rate=log(1e-4,1e-2)  model.dropout = uniform(0, 0.3) train.batch_size=choice(8,16)"
    assert parse(f"{text} model.norm=choice(pre,post) model.book_state=choice(True,False)") == (
        Range("train.learning_rate", 1e-4, 1e-2, log=True, whole=False),
        Range("model.dropout", 0.0, 0.3, log=False, whole=False),
        Choice("train.batch_size", (8, 16)),
        Choice("model.norm", ("pre", "post")),
        Choice("model.book_state", (True, False)),
    )
    assert parse("train.warmup_steps=log(1,100)") == (Range("train.warmup_steps", 1, 100, log=True, whole=True),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("train.learning_rate", "cannot be read"),
        ("train.learning_rate=log(1e-4,1e-2),model.dropout=uniform(0,1)", "cannot be read"),
        ("train.learning_rate=log(1e-4,1e-2", "cannot be read"),
        ("train.learning_rate=log((1,2),3)", "cannot be read"),
        ("train.learning_rat=log(1e-4,1e-2)", "such as train.learning_rate"),
        ("seed=choice(1,2)", "lucky seed"),
        ("data.tick=choice(1,2)", "share the same records"),
        ("tokens.time_digits=choice(2,5)", "share the same records"),
        ("model.max_seq_length=choice(64,128)", "share the same records"),
        ("train.validate_every=choice(1,2)", "validation by validation"),
        ("generate.paths=choice(1,2)", "keys of model and train"),
        ("model.dropout=uniform(0,1) model.dropout=uniform(0,2)", "is repeated"),
        ("train.learning_rate=normal(0,1)", "unknown kind"),
        ("train.learning_rate=uniform(1e-2,1e-4)", "the range is empty"),
        ("train.learning_rate=uniform(1,1)", "the range is empty"),
        ("train.learning_rate=uniform(1,2,3)", "the range is empty"),
        ("train.learning_rate=log(0,1)", "both above 0"),
        ("train.learning_rate=log(1e-4,high)", "expected: numbers"),
        ("train.learning_rate=uniform(1e-4,1e999)", "expected: numbers"),
        ("train.learning_rate=uniform()", "expected: numbers"),
        ("train.batch_size=choice(8,16.0)", "expected: whole numbers"),
        ("train.batch_size=choice(8,True)", "expected: whole numbers"),
        ("model.book_state=choice(1,0)", "expected: True or False"),
        ("model.norm=uniform(pre,post)", "needs numbers"),
        ("model.book_state=uniform(False,True)", "needs numbers"),
        ("model.norm=choice(pre)", "two different values"),
        ("train.batch_size=choice(8,8)", "two different values"),
    ],
)
def test_what_is_no_space_is_refused(text, told):
    with pytest.raises(InputError) as caught:
        parse(text)
    assert told in str(caught.value)
    assert "config.sweep.space" in str(caught.value)


def dimensions():
    numbers = st.floats(1e-9, 1e9, allow_nan=False)
    ends = st.tuples(numbers, numbers).filter(lambda pair: pair[0] < pair[1])
    whole_ends = st.tuples(st.integers(1, 99), st.integers(100, 999))
    return st.one_of(
        st.builds(lambda e, log: Range("train.learning_rate", *e, log=log, whole=False), ends, st.booleans()),
        st.builds(lambda e, log: Range("train.warmup_steps", *e, log=log, whole=True), whole_ends, st.booleans()),
        st.builds(
            lambda v: Choice("train.batch_size", tuple(v)),
            st.lists(st.integers(-LARGEST, LARGEST), min_size=2, unique=True),
        ),
        st.just(Choice("model.book_state", (False, True))),
    )


@given(st.lists(dimensions(), min_size=1, unique_by=lambda dimension: dimension.key))
def test_a_space_comes_back_from_its_description(space):
    assert parse(describe_space(tuple(space))) == tuple(space)


class Trial:
    """Suggests the lower end or the last choice, and keeps what it was asked."""

    def __init__(self):
        self.asked = []

    def suggest_float(self, name, low, high, *, log):
        self.asked.append(("float", name, low, high, log))
        return low

    def suggest_int(self, name, low, high, *, log):
        self.asked.append(("int", name, low, high, log))
        return low

    def suggest_categorical(self, name, choices):
        self.asked.append(("choice", name, choices))
        return choices[-1]


def test_a_trial_is_asked_for_every_key_in_its_own_way():
    trial = Trial()
    space = parse("train.learning_rate=log(1e-4,1) train.warmup_steps=uniform(2,9) train.batch_size=choice(8,16)")
    assert suggest(space, trial) == {"train.learning_rate": 1e-4, "train.warmup_steps": 2, "train.batch_size": 16}
    assert trial.asked == [
        ("float", "train.learning_rate", 1e-4, 1.0, True),
        ("int", "train.warmup_steps", 2, 9, False),
        ("choice", "train.batch_size", (8, 16)),
    ]
