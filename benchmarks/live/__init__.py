"""A duel of a small project again and again, whose verdicts are known to nobody in advance."""
