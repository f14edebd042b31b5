"""Evaluation of models and generated paths: likelihood, accuracy, price direction, and validity."""
