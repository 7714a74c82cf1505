"""The history of runs in a database, and what is read from it."""
