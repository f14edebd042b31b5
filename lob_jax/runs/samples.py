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
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Events, Kind
from lob_jax.generation.loop import generate
from lob_jax.generation.paths import path_day
from lob_jax.generation.prompt import Prompt
from lob_jax.runs.prompt import longest_prompt, make_prompt
from lob_jax.runs.records import tokenizer_of
from lob_jax.runs.reveals import largest_in_training, reveals_of
from lob_jax.training.run.logs import truncate_metrics
from lob_jax.training.step.layout import replicated

SHOWN = 10  # events per line that are written out


class Sampler:
    """Continues the first validation events with the current parameters; the training loop calls `sample`."""

    def __init__(self, config: ml_collections.ConfigDict, workdir: pathlib.Path, beside: Beside):
        """Read the events to continue, so that a run that cannot be sampled is refused before its first step.

        Raises:
          InputError: there is no prompt, or the levels that come into view are unknown, see `reveals_of`.
        """
        self._config, self._path = config, workdir / "samples.jsonl"
        self._model, self._tokenizer = sections.model_config(config), tokenizer_of(config, workdir)
        try:
            self._prompt, self._instrument = self._first_events(workdir / "records", beside)
        except InputError as error:
            raise InputError(
                f"no events can be sampled during training: {error.what}",
                where=f"config.train.sample_events; {error.where}",
                expected=error.expected,
                was=error.was,
                remedy=f"{error.remedy}; or train without samples: --config.train.sample_events=0",
            ) from error

    def _first_events(self, folder: pathlib.Path, beside: Beside) -> tuple[Prompt, Instrument]:
        """Return the prompt, with what its paths take from training, and its instrument."""
        tokenizer, records = self._tokenizer, open_records(folder, "validation")
        prompt = make_prompt(
            records,
            events=min(self._config.generate.prompt_events, longest_prompt(records, tokenizer)),
            tokenizer=tokenizer,
            time_buckets=self._model.time_buckets,
            beside=beside,
        )
        instrument = record_instrument(records[0])
        reveals = reveals_of(prompt, folder, tokenizer, symbol=instrument.symbol)
        largest = largest_in_training(folder, instrument.symbol)
        return dataclasses.replace(prompt, reveals=reveals, largest=largest), instrument

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
        config, prompt = self._config, self._prompt
        how: dict[str, Any] = {"tokenizer": self._tokenizer, "instrument": self._instrument}
        sampling = dataclasses.replace(sections.sampling_config(config), paths=1, events=config.train.sample_events)
        generated = generate(params, prompt, model=self._model, sampling=sampling, **how)
        start, drawn = prompt.start, (generated.tokens[0], generated.corrections[0])
        events = path_day(*drawn, start=start, **how).events
        return {
            "events": len(events),
            "kinds": dict(collections.Counter(Kind(kind).name for kind in events.kind)),
            "seconds": float(events.time_ns[-1] - start.time_ns) / 1e9 if len(events) else 0.0,
            "grammar_mass": float(generated.grammar_mass[0]),
            "book_mass": float(generated.book_mass[0]),
            "first": [_spelt(events, k, start.time_ns) for k in range(min(SHOWN, len(events)))],
        }


def _spelt(events: Events, k: int, start_ns: int) -> str:
    side = {1: "bid", -1: "ask"}.get(int(events.side[k]), "-")
    seconds = (int(events.time_ns[k]) - start_ns) / 1e9
    return f"+{seconds:.6f} s {Kind(events.kind[k]).name} {side} {events.size[k]} @ {events.price[k]}"
