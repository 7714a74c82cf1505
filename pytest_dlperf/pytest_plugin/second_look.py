"""A pytest plugin without hooks: its process measures a test once more for another pytest.

That process judges, records and reports; see `duel/escalation.py`.
"""
