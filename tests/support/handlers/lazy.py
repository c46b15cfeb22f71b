"""A module that takes for ever to load."""

import time

time.sleep(3600)
