"""Options of data sets: facts that a user gives because the files do not hold them, such as the column of labels."""

from __future__ import annotations

from dataclasses import dataclass, fields

from underfire.errors import InputError


@dataclass(frozen=True)
class DataOptions:
    """The user's options for a data set. None leaves the choice to the layout.

    Args:
        file_column: the column of a table that names the image files (of a parquet file: that holds the images).
        label_column: the column of a table that holds the classes.
        split: the part of the data set, such as ``val`` or ``test``, if it has several.
        class_level: the number of folders from the root to the folder that names the class: 1 for root/class/image.
        white: the value of white in images with more than 8 bits.

    Raises:
        InputError: ``class_level`` is below 1, or ``white`` is not positive.
    """

    file_column: str | None = None
    label_column: str | None = None
    split: str | None = None
    class_level: int | None = None
    white: float | None = None

    def __post_init__(self) -> None:
        if self.class_level is not None and self.class_level < 1:
            raise InputError(f"class_level is {self.class_level}; expected 1 for root/class/image, or more.")
        if self.white is not None and not 0 < self.white < float("inf"):
            raise InputError(f"white is {self.white}; expected the value of white, such as 4095 for 12 bits.")

    def given(self) -> list[str]:
        """List the names of the options that are not None."""
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]
