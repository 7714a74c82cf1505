"""What the user asked for: budgets, options and the plan of a test."""
