"""The pictures of a report that need a run: each is an image that decodes, and one that cannot be made says why."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

import lob_jax
from lob_jax.book.replay import snapshots_at
from lob_jax.generation.fan import fan
from lob_jax.report.section import GIF, PNG
from lob_jax.runs import pictures
from lob_jax.runs.pictures import first_test_day, pictures_of, sharpness
from lob_jax.statistics.flow import flow_of_spans
from tests.report.sample import image


@pytest.fixture(scope="module")
def generated(run):
    """Return a result of `generate` whose paths are real events after another prompt."""
    day = first_test_day(run)
    start = next(iter(snapshots_at(day, np.array([50]))))
    settings = {"prompt_events": run.config.generate.prompt_events}
    forecast = fan([day.part(50, 62, start=start)] * 2)
    return {"name": "001", "forecast.json": forecast.to_json(), "settings.json": settings}


@pytest.mark.slow
def test_every_picture_of_a_run_decodes_and_progress_reaches_the_end(run, generated, monkeypatch):
    monkeypatch.setattr(pictures, "FRAMES", 3)
    told = []
    made, missing = pictures_of(run, generated, on_progress=lambda done, total, _: told.append((done, total)))
    assert missing == {} and told == [(k, 5) for k in range(6)]
    assert set(made) == {"attention", "attention_head", "vocabulary", "depth", "trades", "ladder_real", "fan"}
    for one in made.values():
        if one.kind in (PNG, GIF):
            image = Image.open(io.BytesIO(one.data))
            image.load()
            assert getattr(image, "n_frames", 1) == (3 if one.kind == GIF else 1)
        else:
            assert one.data.startswith(b"<?xml")
        assert one.alt and one.caption
    assert "really followed" in made["fan"].caption


def test_the_real_continuation_is_what_followed_the_prompt(run, generated):
    forecast = lob_jax.Fan.from_json(generated["forecast.json"])
    real = pictures._real_fan(run, generated["settings.json"], forecast)
    states = lob_jax.reconstruct_book_states(first_test_day(run), 1)
    first = run.config.generate.prompt_events
    mids = states.price[first : first + 13, :, 0].mean(1) / first_test_day(run).instrument.price_scale
    np.testing.assert_allclose(real.paths_PH["mid"][0], mids[real.moment_H.astype(int)])
    assert pictures._real_fan(run, {}, forecast) is None


def test_a_picture_that_cannot_be_made_says_why(run, monkeypatch):
    for maker in ("_vocabulary", "_ladder"):
        monkeypatch.setattr(pictures, maker, lambda *_: image("grey"))
    monkeypatch.setattr(pictures, "_day", lambda _: [image("depth")])
    attention = dataclasses.replace(run.model.attention, kind="linformer")
    made, missing = pictures_of(dataclasses.replace(run, model=dataclasses.replace(run.model, attention=attention)), {})
    assert set(missing) == {"attention"} and "cannot be shown" in missing["attention"]
    assert "depth" in made and "fan" not in made


def test_the_sharpest_head_attends_to_one_token():
    weight = np.array([[[[1.0, 0], [0.5, 0.5]], [[1.0, 0], [0, 1.0]]]])
    np.testing.assert_allclose(sharpness(weight), [[0.75, 1.0]])


def test_moves_are_counted_from_the_first_message_of_each_sequence(day):
    flow = flow_of_spans(day, np.array([[20, 24], [30, 34]]), levels=1)
    states = lob_jax.reconstruct_book_states(day, 1)
    mid = states.mid2() / 2
    expected = [[mid[first + 1 + k] - mid[first + 1] for k in range(3)] for first in (20, 30)]
    np.testing.assert_allclose(pictures.moves_along(flow, 3), expected)
