"""Tuning carried out: models made from setups, screened, and the best of them judged."""
