"""Text from results."""
