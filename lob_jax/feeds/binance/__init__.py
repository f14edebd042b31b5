"""Raw Binance captures, spot and futures."""
