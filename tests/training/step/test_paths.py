import pytest

from lob_jax.errors import InputError
from lob_jax.training.step.paths import by_path, matching, nested, require_matches

TREE = {"a": {"b": {"kernel": 1, "bias": 2}}, "head": {"bias": 3}}
NAMES = ("a/b/bias", "a/b/kernel", "head/bias")


def test_paths_lead_there_and_back():
    assert tuple(by_path(TREE)) == NAMES
    assert nested(by_path(TREE)) == TREE


@pytest.mark.parametrize(
    ("pattern", "found"),
    [("*/bias", {"a/b/bias", "head/bias"}), ("a/*", {"a/b/bias", "a/b/kernel"}), ("[ah]*/*l", {"a/b/kernel"})],
)
def test_a_star_stands_for_several_parts(pattern, found):
    assert matching([pattern], NAMES) == require_matches([pattern], NAMES, where="key") == found


def test_a_pattern_that_matches_nothing_is_refused_with_names_near_it():
    with pytest.raises(InputError, match="a pattern matches no parameter") as error:
        require_matches(["head/*", "a/b/kernal"], NAMES, where="config.train.frozen")
    assert error.value.was == "'a/b/kernal'" and "such as a/b/kernel," in str(error.value.expected)
