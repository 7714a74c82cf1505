"""The noise of this machine, and the smallest losses that duels detect on it."""
