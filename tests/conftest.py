"""Shared by all tests; that it is here also lets them import the modules beside it."""

from hypothesis import settings

pytest_plugins = ["pytester", "postgres_server"]

# No deadlines (nothing is timed here), the same examples every time, nothing left on the disk.
settings.register_profile("dlperf", deadline=None, derandomize=True, database=None)
settings.load_profile("dlperf")
