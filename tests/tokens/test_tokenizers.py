"""What every registered tokenizer keeps to, and that a new one takes a module and a line of the registry alone."""

import dataclasses
import importlib
import inspect
import pathlib
import pkgutil

import numpy as np
import pytest

import lob_jax.tokens
from lob_jax.book.replay import replay
from lob_jax.config.validation import validate
from lob_jax.configs import base
from lob_jax.data.records.builder import open_records, prepare_records
from lob_jax.data.records.records import RecordPlan
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.errors import InputError
from lob_jax.events.schema import Code, Events, Flag, Kind
from lob_jax.feeds.feed import STRICT
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.runs.prompt import make_prompt
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.registry import TOKENIZERS, tokenizer_class, tokenizer_for
from lob_jax.tokens.seen import seen_in
from lob_jax.tokens.tokenizer import Ability, FittedTokenizer, Tokenizer, require

FEED = SyntheticFeed(1, 1_500, 4)
CONTENT = ("time_ns", "kind", "code", "side", "price", "size")
PLAN = RecordPlan(
    record_events=300, context=64, book_levels=2, train_fraction=0.6, validation_fraction=0.2, embargo_events=70
)
NO_TOKEN = (-1, v.VOCAB_SIZE)
METHODS = ("encode", "encode_runs", "tokenize_events", "decode", "sets", "known_rows", "describe")


class Toy(ExactTokenizer):
    """A third tokenizer, in a module of its own as a user would write it."""

    name = "toy"
    lacks = {Ability.ORDERS: "toys take no orders", Ability.GENERATION: "toys stay off the device"}  # noqa: RUF012


@pytest.fixture(scope="module")
def day():
    """Return a day of events that ends in a halt at once behind its last event, the shortest of all."""
    read = FEED.read(FEED.days()[0], STRICT)
    none = np.zeros(1)
    last = {"time_ns": read.events.time_ns[-1:], "kind": none + Kind.CONTROL, "code": none + Code.HALT}
    halt = Events.from_columns(**last, side=none, price=none, size=none)
    columns = ("time_ns", "kind", "code", "side", "price", "size", "order_id")
    both = {name: np.append(getattr(read.events, name), getattr(halt, name)) for name in columns}
    return dataclasses.replace(read, events=Events.from_columns(**both))


@pytest.fixture(scope="module")
def states(day):
    return replay(day, levels=1)


@pytest.fixture(scope="module")
def tokenizers(day, states):
    """Return each registered tokenizer, by name, those that are fitted to the day; and one that writes ranks."""
    seen = seen_in(day.events, states.reference[:-1], day.instrument, day.start.time_ns)
    kinds = {name: tokenizer_class(name) for name in TOKENIZERS}
    found = {name: kind.fit([seen]) if kind.fitted else kind.from_settings() for name, kind in kinds.items()}
    return {**found, "ranks": ExactTokenizer.from_settings(references="rank")}


@pytest.fixture(params=[*TOKENIZERS, "ranks"])
def tokenizer(request, tokenizers):
    return tokenizers[request.param]


def asked(protocol: type) -> set[str]:
    """Return the names of all that a protocol asks for."""
    return {name for base in (protocol, Tokenizer) for name in [*vars(base), *base.__annotations__] if name[0] != "_"}


def test_events_of_the_user_are_flagged(tokenizer, day):
    part = day.part(0, 2, start=day.start)
    tokens = np.concatenate([[v.BOS], tokenizer.encode(part), [v.EOS]])
    own = np.concatenate([[False], v.event_index(tokens[1:-1]) == 1, [False]])
    assert np.flatnonzero(tokenizer.decode(tokens, part, own=own).flags & Flag.OWN).tolist() == [1]
    assert not (tokenizer.decode(tokens, part).flags & Flag.OWN).any()


def test_the_protocol_is_complete_and_the_facts_are_of_the_class(tokenizer):
    kind = type(tokenizer)
    for name in asked(FittedTokenizer if kind.fitted else Tokenizer):
        assert hasattr(tokenizer, name), name
    for name in (
        "encode",
        "encode_runs",
        "tokenize_events",
        "decode",
        "sets",
        "known_rows",
        "describe",
    ):
        mine, theirs = (inspect.signature(getattr(cls, name)).parameters for cls in (kind, Tokenizer))
        assert list(mine) == list(theirs), name
    assert tokenizer_class(kind.name) is kind and tokenizer.vocabulary.tokenizer == kind.name
    assert None in kind.time_digits and kind.fewest_event_tokens >= 1
    assert all(isinstance(ability, Ability) and reason for ability, reason in kind.lacks.items())


def test_every_tokenizer_of_the_folder_is_registered():
    """A forgotten line of the registry fails here."""
    folder = pathlib.Path(lob_jax.tokens.__file__).parent
    modules = [importlib.import_module(f"lob_jax.tokens.{found.name}") for found in pkgutil.iter_modules([str(folder)])]
    classes = {cls for module in modules for _, cls in inspect.getmembers(module, inspect.isclass)}
    found = {cls for cls in classes if "fewest_event_tokens" in vars(cls)}
    assert found == {tokenizer_class(name) for name in TOKENIZERS}


def test_events_and_tokens_go_there_and_back(tokenizer, day, states):
    events = day.events
    tokens = tokenizer.encode(day)
    assert tokens.dtype == np.uint16
    tokenizer.grammar.check(np.concatenate([[v.BOS], tokens, [v.EOS, v.PAD]]))
    runs = list(tokenizer.encode_runs(day, run_events=177))
    np.testing.assert_array_equal(np.concatenate(runs), tokens)
    np.testing.assert_array_equal(tokenizer.tokenize_events(day, states), tokens)
    if Ability.EVENTS not in tokenizer.lacks:
        back = tokenizer.decode(tokens, day)
        for name in CONTENT:
            np.testing.assert_array_equal(getattr(back, name), getattr(events, name))


def test_one_event_comes_back_in_kind_and_side_whatever_else_it_loses(tokenizer, day):
    first = dataclasses.replace(day, events=day.events[:1])
    back = tokenizer.decode(tokenizer.encode(first), first)
    assert back.kind.tolist() == first.events.kind.tolist() and back.side.tolist() == first.events.side.tolist()


def test_the_shortest_event_has_as_few_tokens_as_it_says(tokenizer, day):
    counts = np.bincount(v.event_index(tokenizer.encode(day)))
    assert len(counts) == len(day.events) and counts.min() == tokenizer.fewest_event_tokens


def test_every_row_is_known_once_and_the_whole_event_at_its_last_token(tokenizer, day):
    tokens = tokenizer.encode(dataclasses.replace(day, events=day.events[-60:]))
    event = v.event_index(tokens)
    for rows in tokenizer.known_rows(tokens):
        assert rows.dtype == np.int32 and rows.shape == tokens.shape
        assert (np.diff(rows) >= 0).all() and (rows >= event).all() and (rows <= event + 1).all()
    ends = np.flatnonzero(np.diff(event, append=event[-1] + 1))
    np.testing.assert_array_equal(tokenizer.known_rows(tokens)[1][ends], event[ends] + 1)


@pytest.mark.parametrize("column", ["size", "time_ns"])
def test_what_is_known_at_a_token_does_not_depend_on_later_ones(tokenizer, day, column):
    """Of two streams that part within their last event, the shared tokens know nothing of it: its size, its gap."""
    events = day.events[:50]
    last = events.size[-1] * 1000 if column == "size" else events.time_ns[-1] + 10**13
    other = events.replace(**{column: np.append(getattr(events, column)[:-1], last)})
    one, two = (tokenizer.encode(dataclasses.replace(day, events=rows)) for rows in (events, other))
    length = min(len(one), len(two))
    shared = int(np.argmax(one[:length] != two[:length]))
    assert 0 < shared < length
    rows = dict(zip(("time_ns", "size"), tokenizer.known_rows(one), strict=True))
    assert rows[column][:shared].max() <= len(events) - 1


def test_the_vocabulary_file_brings_the_tokenizer_back(tokenizer, tmp_path):
    path, kind = tmp_path / "vocabulary.json", type(tokenizer)
    settings = [
        {"time_digits": digits, "references": reference} for digits in kind.time_digits for reference in kind.references
    ]
    choices = [tokenizer] if kind.fitted else [kind.from_settings(**one) for one in settings]
    for choice in choices:
        choice.vocabulary.save(path)
        loaded = v.Vocabulary.load(path)
        assert loaded == choice.vocabulary and loaded.hash == choice.vocabulary.hash
        again = tokenizer_for(loaded)
        assert type(again) is kind and again.vocabulary == loaded
    assert len({choice.vocabulary.hash for choice in choices}) == len(choices)


def test_every_id_has_a_meaning_in_words(tokenizer):
    told = [tokenizer.describe(token) for token in range(v.VOCAB_SIZE)]
    allowed_V = tokenizer.grammar.allowed.any(0)
    assert all(told) and not [one for one, may in zip(told, allowed_V, strict=True) if may and "unused" in one]
    heads = np.flatnonzero(tokenizer.grammar.allowed[tokenizer.grammar.start])
    assert len({told[token] for token in heads}) == len(heads)
    for token in NO_TOKEN:
        with pytest.raises(InputError, match="no such token"):
            tokenizer.describe(token)


@pytest.mark.parametrize("ability", Ability)
def test_what_a_tokenizer_cannot_do_is_refused_with_its_reason(tokenizer, ability):
    if ability not in tokenizer.lacks:
        require(tokenizer, ability, what="this", where="here")
        return
    with pytest.raises(InputError) as refused:
        require(tokenizer, ability, what="this", where="here")
    able = refused.value.remedy.partition("tokens.kind=")[2]
    assert tokenizer.lacks[ability] in refused.value.what and refused.value.was == tokenizer.name
    assert ability not in tokenizer_class(able).lacks


@pytest.mark.parametrize("name", [None, "", "third", ["exact"]])
def test_a_name_that_no_tokenizer_has_is_refused(name):
    with pytest.raises(InputError, match="unknown tokenizer") as refused:
        tokenizer_class(name, where="config.tokens.kind")
    assert refused.value.where == "config.tokens.kind"


def test_settings_of_another_tokenizer_are_refused(tokenizers):
    with pytest.raises(InputError, match="exact tokens have no bins"):
        ExactTokenizer.from_settings(bins={})
    compact = type(tokenizers["compact"])
    with pytest.raises(InputError, match="missing or incomplete"):
        compact.from_settings()
    with pytest.raises(InputError, match="unsupported rounding of times"):
        compact.from_settings(time_digits=5)
    with pytest.raises(InputError, match="unsupported references to orders"):
        compact.from_settings(references="rank")


def test_a_third_tokenizer_is_a_module_and_a_line(monkeypatch, tmp_path):
    """From the configuration over records and windows to a prompt, nothing else has to know of it."""
    monkeypatch.setitem(TOKENIZERS, "toy", f"{__name__}:Toy")
    config = base.get_config()
    config.tokens.kind = "toy"
    validate(config)
    sources = {}
    for kind in (Toy, ExactTokenizer):
        how = {"tokenizer": kind.from_settings(time_digits=5), "plan": PLAN, "inputs": {}, "processes": 1}
        prepare_records(FEED, FEED.days(), folder=tmp_path / kind.name, **how)
        sources[kind.name] = open_records(tmp_path / kind.name, "train")
    assert [sources[name][0]["tokenizer"] for name in ("toy", "exact")] == ["toy", "exact"]
    vocabulary = v.Vocabulary.load(tmp_path / "toy" / "vocabulary.json")
    assert isinstance(tokenizer_for(vocabulary), Toy)
    shape = {"context": 64, "time_buckets": 288, "evaluation": False}
    mine, theirs = (TokenBookDataset(sources[name], **shape)[3] for name in ("toy", "exact"))
    for name in theirs:
        np.testing.assert_array_equal(mine[name], theirs[name])
    prompt = make_prompt(sources["toy"], events=5, tokenizer=tokenizer_for(vocabulary), time_buckets=288)
    assert len(prompt.tokens_T) >= 10
    with pytest.raises(InputError, match="toys take no orders"):
        require(tokenizer_for(vocabulary), Ability.ORDERS, what="an order of your own", where="here")
