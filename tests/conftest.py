"""For all tests: speed is no verdict here, so no example of a property has a deadline."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
