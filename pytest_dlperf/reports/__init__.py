"""Text from values; nothing here measures or judges."""
