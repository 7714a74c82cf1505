"""Training on Keras."""
