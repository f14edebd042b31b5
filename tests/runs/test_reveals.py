"""Runs on a feed of N levels: paths get the levels that came into view on the training days, whatever the tokens."""

import dataclasses
import json

import numpy as np
import pytest

import lob_jax
from lob_jax.book.replay import snapshots_at
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.manifest import MANIFEST, load_manifest
from lob_jax.data.records.reveals import revealed_in
from lob_jax.errors import InputError
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.generation.prompt import NO_REVEALS
from lob_jax.generation.reveals import fit_reveals
from lob_jax.runs.beside import beside_of
from lob_jax.runs.prompt import make_prompt
from lob_jax.runs.records import tokenizer_of
from lob_jax.runs.reveals import reveals_of
from lob_jax.runs.samples import Sampler
from lob_jax.writers.lobster import write_lobster
from tests.runs.conftest import SMALL

COMPACT = {"tokens.kind": "compact", "tokens.time_digits": None, "model.mask": "book", "data.embargo_events": 70}
COMPACT |= {"model.queue_state": False, "model.pointer": False}
LEVELS, RECORD = 3, 128


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A simulated day as LOBSTER shows it."""
    day = lob_jax.load_incremental_data(events=3_000, seed=5)
    return write_lobster(tmp_path_factory.mktemp("lobster"), day, levels=LEVELS, monotone_time=True).message


def configured(path, changes):
    named = {"data.path": str(path), "data.feed": "lobster", "data.record_events": RECORD}
    return lob_jax.get_config("tiny", SMALL | named | changes)


@pytest.fixture(scope="module")
def compact(path, tmp_path_factory):
    config, workdir = configured(path, COMPACT), tmp_path_factory.mktemp("compact")
    lob_jax.prepare(config, workdir)
    return config, workdir


@pytest.fixture(scope="module")
def exact(path, tmp_path_factory):
    config, workdir = configured(path, {}), tmp_path_factory.mktemp("exact")
    lob_jax.prepare(config, workdir)
    return config, workdir


def distribution(config, workdir, folder=None):
    """Return what paths of a run's test split draw from."""
    tokenizer = tokenizer_of(config, workdir)
    prompt = make_prompt(open_records(workdir / "records", "test"), events=20, tokenizer=tokenizer, time_buckets=288)
    assert prompt.book.window == LEVELS
    return reveals_of(prompt, folder or workdir / "records", tokenizer, symbol="SYN")


def on_the_day(path, workdir):
    """Return the distribution of the training records, each as a part of the real day."""
    day, records = LobsterFeed().read(path), open_records(workdir / "records", "train")
    begins = np.array([int(record["first_event"]) for record in records])
    ends = [begin + len(record["clock_ns"]) - 1 for begin, record in zip(begins, records, strict=True)]
    spans = zip(begins.tolist(), ends, snapshots_at(day, begins), strict=True)
    return fit_reveals([revealed_in(day.part(first, last, start=start)) for first, last, start in spans], seed=0)


def same(one, other):
    return all(np.array_equal(mine, its) for mine, its in zip(one, other, strict=True))


@pytest.mark.parametrize("tokens", ["exact", "compact"])
def test_paths_draw_from_what_came_into_view_on_the_training_days(path, tokens, request):
    config, workdir = request.getfixturevalue(tokens)
    found = distribution(config, workdir)
    assert same(found, on_the_day(path, workdir)) and found.count_2.min() > 20


@pytest.fixture(scope="module")
def of_earlier_version(tmp_path_factory):
    """Return a function: a copy of a folder of records whose manifest does not say what came into view."""

    def copied(workdir):
        folder = tmp_path_factory.mktemp("earlier") / "records"
        folder.mkdir()
        for name in ("lob_events", "vocabulary.json"):
            (folder / name).symlink_to(workdir / "records" / name)
        manifest = load_manifest(workdir / "records")
        del manifest["reveals"]
        (folder / MANIFEST).write_text(json.dumps(manifest))
        return folder

    return copied


def test_records_of_an_earlier_version_are_decoded_if_their_tokens_give_the_events_back(
    exact, compact, of_earlier_version
):
    (config, workdir), (other, of_compact) = exact, compact
    assert same(distribution(config, workdir, of_earlier_version(workdir)), distribution(config, workdir))
    with pytest.raises(InputError, match="which levels came into view") as caught:
        distribution(other, of_compact, of_earlier_version(of_compact))
    assert "--mode=prepare" in caught.value.remedy


def test_a_book_without_a_window_has_no_levels_that_come_into_view(exact):
    config, workdir = exact
    tokenizer, records = tokenizer_of(config, workdir), open_records(workdir / "records", "test")
    prompt = make_prompt(records, events=20, tokenizer=tokenizer, time_buckets=288)
    whole = dataclasses.replace(prompt, book=dataclasses.replace(prompt.book, window=0))
    assert reveals_of(whole, workdir / "records", tokenizer, symbol="SYN") is NO_REVEALS
    assert reveals_of(prompt, workdir / "records", tokenizer, symbol="another") is NO_REVEALS


def test_a_run_whose_samples_cannot_be_made_is_refused_before_its_first_step(path, tmp_path):
    config = configured(path, COMPACT | {"data.record_events": 4_096, "train.sample_events": 4})
    with pytest.raises(InputError, match="sampled during training: there is no book to generate from") as caught:
        lob_jax.train(config, tmp_path)
    assert "--config.train.sample_events=0" in caught.value.remedy
    assert (tmp_path / "records").exists() and not (tmp_path / "metrics.jsonl").exists()
    assert not (tmp_path / "checkpoints").exists()


def test_a_sample_begins_with_as_many_events_as_there_are(compact):
    config, workdir = compact
    config = config.copy_and_resolve_references()
    config.generate.prompt_events = 10_000
    records = open_records(workdir / "records", "validation")
    most = int(records[1]["first_event"]) - int(records[0]["first_event"])
    prompt = Sampler(config, workdir, beside_of(config, workdir))._prompt
    assert len(prompt.tokens_T) == most and prompt.reveals.count_2.min() > 20


@pytest.mark.slow
def test_a_run_of_compact_tokens_on_a_feed_of_n_levels_generates_events_that_can_happen(compact):
    config, workdir = compact
    config = config.copy_and_resolve_references()
    config.train.sample_events = 5
    summary = lob_jax.train(config, workdir)
    samples = [json.loads(line) for line in (workdir / "samples.jsonl").read_text().splitlines()]
    assert summary.steps == 4 and [(one["step"], one["events"]) for one in samples] == [(2, 5), (4, 5)]
    run = lob_jax.load_run(workdir)
    paths = lob_jax.generate(run, sampling=lob_jax.SamplingConfig(paths=8, events=60, seed=1))
    found = lob_jax.check_paths(paths)
    assert sum(one.events for one in found) == 480 and all(one.faults == {} for one in found)
    assert [one.levels for one in found] == paths.drawn.levels
    assert sum(len(path.corrections) for path in paths) > 0
