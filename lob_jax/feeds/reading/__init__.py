"""Shared by all feeds: parsing bytes into columns, bad rows, scales, stores and reports."""
