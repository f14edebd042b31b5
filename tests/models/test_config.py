import pytest

from lob_jax.errors import InputError


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"d_model": 0}, "model.d_model"),
        ({"n_layers": -1}, "model.n_layers"),
        ({"d_ff": 2.5}, "model.d_ff"),
        ({"vocab_size": True}, "model.vocab_size"),
        ({"time_buckets": 0}, "model.time_buckets"),
        ({"book_features": 0}, "model.book_features"),
        ({"dropout": 1.0}, "model.dropout"),
        ({"dropout": -0.1}, "model.dropout"),
        ({"norm": "sandwich"}, "model.norm"),
        ({"positions": "alibi"}, "model.positions"),
        ({"dtype": "int8"}, "model.dtype"),
        ({"n_heads": 3}, "model.n_heads"),
        ({"positions": "rotary", "n_heads": 16}, "model.n_heads"),
        ({"positions": "sinusoidal", "d_model": 15, "n_heads": 1}, "model.d_model"),
    ],
)
def test_a_config_that_describes_no_model_is_refused_by_name(tiny, changes, named):
    with pytest.raises(InputError) as caught:
        tiny(**changes)
    assert caught.value.where == named
    assert caught.value.remedy


def test_what_is_switched_off_needs_no_size(tiny):
    config = tiny(time_of_day=False, time_buckets=0, book_state=False, book_features=0)
    assert config.head_width == 8


def test_a_config_cannot_be_changed(tiny):
    with pytest.raises(AttributeError):
        tiny().d_model = 32
