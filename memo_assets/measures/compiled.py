"""How loops are compiled: by numba, kept on disk for the next process.

What belongs here: the one decorator of all compiled functions. What does not: what they compute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(**options: Any) -> Callable[[Callable], Callable]:
    """Decorator for a function of numbers and arrays, which releases Python's lock while it runs.

    The machine code is kept beside the source, or in the user's cache (NUMBA_CACHE_DIR says where else); where no such
    folder can be written, every process compiles anew.

    Args:
        options: of `numba.njit`.
    """

    def decorate(function: Callable) -> Callable:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # numba: "no locator available"
            return numba.njit(nogil=True, **options)(function)

    return decorate
