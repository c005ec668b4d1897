"""One hypothesis profile for this folder: the same examples every time, and no stopwatch on them."""

from hypothesis import settings

settings.register_profile("evolution", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("evolution")
