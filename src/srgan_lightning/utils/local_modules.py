"""Import modules from the working directory, also in installed commands."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def with_working_directory() -> Iterator[None]:
    """Also search the working directory for modules, after all others. (`python -m` searches it first.)"""
    here = os.getcwd()
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        yield
    finally:
        if added:
            sys.path.remove(here)
