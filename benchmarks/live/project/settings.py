"""What the classifier is made of; the variants of this project differ in this file only."""

UNITS = 512
"""Width of the hidden layer."""

EXTRA_CALLS = 0.0
"""Share of the batches for which the model is called a second time."""

CHECKED = 0
"""Pixels of a batch that are looked at one by one."""

NOISE = 0.0
"""What is added to the weights of the accuracy test, in their standard deviations."""

NOISE_SEED = 0
"""Of that."""
