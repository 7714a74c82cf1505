"""Accepted baselines: files, acceptance and evaluation."""
