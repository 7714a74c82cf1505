"""How much noise this machine has, and what can be seen beside it."""
