"""Model servers as targets."""
