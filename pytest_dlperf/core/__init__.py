"""Decisions as functions of values: no clock, no file, no thread, no pytest, no TensorFlow."""
