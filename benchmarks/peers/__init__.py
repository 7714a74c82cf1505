"""The load generators that are measured, one a module, each called in the same ways."""
