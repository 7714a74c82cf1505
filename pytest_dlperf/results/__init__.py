"""Values that a run leaves: measurements, verdicts, records and baselines."""
