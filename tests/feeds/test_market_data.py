"""Every available market-data file: read and reproduced if a feed supports its schema, else refused by name."""

import pytest

from lob_jax.book.replay import count_states
from lob_jax.errors import InputError
from lob_jax.feeds.load import load_incremental_data
from tests.feeds.checks import assert_round_trip, assert_sound

SUPPORTED = [
    "lobster/GOOG_2012-06-21_34200000_57600000_message_10.csv.gz",
    "lobster/GOOG_2012-06-21_34200000_57600000_message_1.csv.gz",
    "lobster/AAPL_2012-06-21_34200000_57600000_message_1.csv.gz",
    "tardis/binance-futures_2024-08-08_incremental_book_L2_BTCUSDT.csv.gz",
    "tardis/binance_2024-08-08_09_incremental_book_L2_BTCUSDT.csv.gz",
    "tardis/tardis_binance_BTCUSDT_incremental_book_L2_2019-12-01_rows_1_2050.csv",
    "binance/usdm_btcusdt_20240808.gz",
    "binance/spot_btcusdt_20240808.gz",
    "databento/esh4-glbx-mdp3-20231224.mbo.dbn.zst",
    "databento/esh4-glbx-mdp3-20231225.mbo.dbn.zst",
]
REFUSED = {
    "databento/futures_mbp-1_2024-07-01T23-58_2024-07-02T00-02.dbn.zst": "mbp-1",
    "databento/futures_trades_2024-07-01T23-58_2024-07-02T00-02.dbn.zst": "trades",
    "bitstamp/orders.csv.gz": r"exchange\.timestamp",
    "binance/spot_btcusdt_20240809.gz": "no snapshot",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SUPPORTED)
def test_a_file_is_read_and_comes_back_from_its_tokens(market_data, name):
    day = load_incremental_data(market_data(name))
    assert_sound(day)
    assert_round_trip(day)
    assert count_states(day)["unknown_level"] == 0


def test_the_first_rows_of_a_day_are_a_day(market_data, tmp_path):
    """The file was shortened, and its new name lacks the session."""
    for half in ("message", "orderbook"):
        source = market_data(f"lobster/AAPL_2012-06-21_{half}_10_first998.csv")
        (tmp_path / f"AAPL_2012-06-21_34200000_57600000_{half}_10.csv").write_bytes(source.read_bytes())
    day = load_incremental_data(tmp_path)
    assert len(day.events) == 999
    assert_round_trip(day)


@pytest.mark.parametrize("name", REFUSED)
def test_another_schema_is_refused_by_its_name(market_data, name):
    with pytest.raises(InputError, match=REFUSED[name]):
        load_incremental_data(market_data(name))
