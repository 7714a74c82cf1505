"""Measuring one target under one load."""
