"""What the tests of forecasts share with those of models and data: a tiny model, and days of random order flow."""

from tests.data.conftest import make_day_fixture as make_day_fixture
from tests.data.conftest import of_symbol_fixture as of_symbol_fixture
from tests.models.conftest import tiny as tiny
