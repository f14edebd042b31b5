import dataclasses

import pytest

from lob_jax.configs import base
from lob_jax.errors import InputError
from lob_jax.training.config import TrainConfig, count_steps


def test_the_fields_are_the_keys_of_the_train_section():
    section = base.get_config().train
    assert {field.name for field in dataclasses.fields(TrainConfig)} == set(section.keys())
    config = TrainConfig(**section)
    assert config.windows_per_step == 128
    assert config.micro_batch is None


def test_there_are_no_defaults():
    assert all(field.default is dataclasses.MISSING for field in dataclasses.fields(TrainConfig))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("batch_size", 0),
        ("micro_batch", 0),
        ("steps", -1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("warmup_steps", -1),
        ("beta2", 1.0),
        ("final_lr_fraction", 1.5),
        ("clip", 0.0),
        ("patience", 0),
        ("task_weights", "equal"),
        ("contrastive_views", "two"),
        ("view_mask_share", 1.0),
        ("adversarial", "noise"),
        ("adversarial_eps", 0.0),
        ("adversarial_steps", 0),
        ("adversarial_weight", -1.0),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_key(train_config, key, value):
    with pytest.raises(InputError) as caught:
        train_config(**{key: value})
    assert caught.value.where == f"config.train.{key}"
    assert caught.value.was is value


def test_steps_come_from_epochs_unless_given(train_config):
    by_epochs = train_config(steps=None, epochs=3, batch_size=8, accumulation=2)
    assert count_steps(by_epochs, 100) == 18  # 300 windows, 16 a step
    assert count_steps(by_epochs, 1) == 1
    assert count_steps(train_config(steps=7), 100) == 7


def test_no_windows_are_refused(train_config):
    with pytest.raises(InputError, match="nothing to train on"):
        count_steps(train_config(), 0)
