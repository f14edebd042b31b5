"""Databento MBO: individual orders, as DBN or CSV."""
