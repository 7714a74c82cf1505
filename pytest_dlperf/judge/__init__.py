"""Verdicts from values."""
