"""Databento MBO: orders one by one, as DBN or CSV."""
