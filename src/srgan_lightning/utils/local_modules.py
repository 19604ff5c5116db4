"""Importing modules of the working directory, also from installed commands."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def with_working_directory() -> Iterator[None]:
    """Look for modules in the working directory too, after all other places, as `python -m` does before them."""
    here = os.getcwd()
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        yield
    finally:
        if added:
            sys.path.remove(here)
