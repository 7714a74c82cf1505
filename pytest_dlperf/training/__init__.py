"""Training models and measuring it."""
