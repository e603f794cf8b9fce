"""Tables of pandas, which is no dependency: it is imported when somebody asks for a table."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from underfire.errors import InputError


def pandas() -> Any:
    """Import pandas. Raises InputError if it is not installed."""
    try:
        return import_module("pandas")
    except ImportError as error:
        raise InputError("to_pandas needs pandas, which is not installed. Install it: pip install pandas.") from error
