"""The commands of the program `pytest-dlperf`, a module each."""
