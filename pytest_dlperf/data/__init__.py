"""Data sets, their cleaning and normalising, and scores."""
