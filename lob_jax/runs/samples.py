"""Generate events while a model trains, for inspection: one line of samples.jsonl per validation."""

import collections
import dataclasses
import json
import pathlib
from typing import Any

import jax
import ml_collections

from lob_jax.config import sections
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.records import record_instrument
from lob_jax.data.windows.known import Beside
from lob_jax.events.schema import Events, Kind
from lob_jax.generation.device.out_of_view import RevealDistribution
from lob_jax.generation.device.state import Prompt
from lob_jax.generation.loop import generate
from lob_jax.generation.paths import path_day
from lob_jax.runs.prompt import make_prompt
from lob_jax.runs.records import tokenizer_of
from lob_jax.runs.reveals import largest_in_training, reveals_of
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.training.run.logs import truncate_metrics
from lob_jax.training.step.layout import replicated

SHOWN = 10  # events per line that are written out


class Sampler:
    """Continues the first validation events with the current parameters; the training loop calls `sample`."""

    def __init__(self, config: ml_collections.ConfigDict, workdir: pathlib.Path, beside: Beside):
        self._config, self._path, self._beside = config, workdir / "samples.jsonl", beside
        self._folder, self._known_reveals = workdir / "records", None

    def sample(self, step: int, loss: float, params: Any) -> None:
        """Generate config.train.sample_events events and append a line about them; only the first process writes."""
        if jax.process_count() > 1:  # gather shards from the other processes, which is a collective: all must take part
            mesh = jax.tree.leaves(params)[0].sharding.mesh
            params = jax.jit(lambda tree: tree, out_shardings=replicated(mesh))(params)
        if jax.process_index() > 0:
            return
        line = {"step": step, "validation_loss": loss, **self._generated(jax.device_get(params))}
        truncate_metrics(self._path, step - 1)  # a run resumed from an earlier step writes these lines again
        with self._path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")

    def _generated(self, params: Any) -> dict[str, Any]:
        config, tokenizer = self._config, tokenizer_of(self._config, self._folder.parent)
        model, records = sections.model_config(config), open_records(self._folder, "validation")
        record = records[0]
        prompt_events = min(config.generate.prompt_events, len(record["clock_ns"]) - 1)
        prompt = make_prompt(
            records,
            events=prompt_events,
            tokenizer=tokenizer,
            time_buckets=model.time_buckets,
            beside=self._beside,
        )
        instrument = record_instrument(record)
        reveals = self._reveals(prompt, tokenizer, instrument.symbol)
        largest = largest_in_training(self._folder, instrument.symbol)
        prompt = dataclasses.replace(prompt, reveals=reveals, largest=largest)
        sampling = dataclasses.replace(sections.sampling_config(config), paths=1, events=config.train.sample_events)
        generated = generate(params, prompt, model=model, tokenizer=tokenizer, instrument=instrument, sampling=sampling)
        start, drawn = prompt.start, (generated.tokens[0], generated.corrections[0])
        events = path_day(*drawn, start=start, tokenizer=tokenizer, instrument=instrument).events
        return {
            "events": len(events),
            "kinds": dict(collections.Counter(Kind(kind).name for kind in events.kind)),
            "seconds": float(events.time_ns[-1] - start.time_ns) / 1e9 if len(events) else 0.0,
            "grammar_mass": float(generated.grammar_mass[0]),
            "book_mass": float(generated.book_mass[0]),
            "first": [_spelt(events, k, start.time_ns) for k in range(min(SHOWN, len(events)))],
        }

    def _reveals(self, prompt: Prompt, tokenizer: Tokenizer, symbol: str) -> RevealDistribution:
        """Return the distribution of levels that come into view, which is fitted once."""
        if self._known_reveals is None:
            self._known_reveals = reveals_of(prompt, open_records(self._folder, "train"), tokenizer, symbol=symbol)
        return self._known_reveals


def _spelt(events: Events, k: int, start_ns: int) -> str:
    side = {1: "bid", -1: "ask"}.get(int(events.side[k]), "-")
    seconds = (int(events.time_ns[k]) - start_ns) / 1e9
    return f"+{seconds:.6f} s {Kind(events.kind[k]).name} {side} {events.size[k]} @ {events.price[k]}"
