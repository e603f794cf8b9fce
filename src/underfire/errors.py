"""The exceptions and warnings that underfire raises on purpose, and helpers to phrase them."""

from __future__ import annotations

import difflib
import re
import sys
import traceback
import warnings
from collections.abc import Iterable
from types import FrameType


class UnderfireError(Exception):
    """Base of every error that underfire raises on purpose: one readable paragraph, no traceback needed."""


class InputError(UnderfireError, ValueError):
    """An argument cannot be used. Names the argument, its value, what was expected and the likely cause.

    ``setting`` is the name of the setting that it is about, and ``value`` what was given for it, if these are known.
    """

    setting: str | None = None
    value: object = None

    @classmethod
    def about(cls, setting: str, error: InputError | str) -> InputError:
        """Return an error, which may be given by its words, that is about a setting."""
        made = cls(error) if isinstance(error, str) else error
        made.setting = setting
        return made


class SeveralInputsError(InputError):
    """Several arguments cannot be used. ``each`` are the single errors; the message joins theirs."""

    def __init__(self, each: Iterable[InputError]) -> None:
        self.each = tuple(each)
        super().__init__(" ".join(dict.fromkeys(map(str, self.each))))

    def __reduce__(self) -> tuple[type[SeveralInputsError], tuple[tuple[InputError, ...]]]:
        return type(self), (self.each,)


class DataError(UnderfireError):
    """A data set is missing, empty, or holds nothing that can be read."""


class UnreadableImageError(DataError):
    """One image cannot be decoded. Runs skip it, and report it by name."""


class TooFewImagesError(DataError):
    """A data set holds fewer images than are wanted. ``found`` is the number of those that can be taken."""

    def __init__(self, message: str, found: int = 0) -> None:
        super().__init__(message)
        self.found = found


class ClassifierError(UnderfireError):
    """The classifier does something that makes a verdict meaningless (NaN, probabilities, randomness)."""


class InterpreterError(UnderfireError):
    """The interpreter cannot be used with this classifier."""


class NoGradientError(ClassifierError, InterpreterError):
    """Something that an attack must differentiate has no gradient, or a useless one.

    ``module`` names the part of the network that is to blame, such as ``layer1.0.act (MyKernel)``, if it is known.
    """

    def __init__(self, message: str, module: str | None = None) -> None:
        super().__init__(message)
        self.module = module


class UserCodeError(ClassifierError, InterpreterError):
    """Code of the user's own, named as ``file.py:name``, raises an error."""


class StoreError(UnderfireError):
    """The output folder cannot be used."""


class StoppedError(UnderfireError):
    """The user asked to stop. The parts in hand were finished, and everything that is finished is kept."""


class UnderfireWarning(UserWarning):
    """Something that a reader of the results should know."""


class DeprecatedWarning(UnderfireWarning, FutureWarning):
    """An old name that still works in this version, and will not in the next."""


def warn(text: str, category: type[UnderfireWarning] = UnderfireWarning) -> None:
    """Warn, and name the nearest line of the user's code that led to it, however deep in underfire the cause is."""
    frames = [frame for frame, _ in traceback.walk_stack(sys._getframe(1))]
    frame = next((each for each in frames if _top_module(each) not in _NOT_THE_USERS), frames[-1])
    module, seen = str(frame.f_globals.get("__name__")), frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(text, category, frame.f_code.co_filename, frame.f_lineno, module, seen)


_NOT_THE_USERS = {"underfire", "torch", *(sys.stdlib_module_names - {"__main__"})}
"""Packages whose lines tell a user nothing about the cause of a warning."""


def _top_module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def warn_deprecated(old: str, new: str) -> None:
    """Warn that ``old`` is deprecated, and name what replaces it."""
    warn(f"{old} is deprecated and will go with the next version; use {new}.", DeprecatedWarning)


def plain_words(text: str) -> str:
    """Remove the preambles from a message of pydantic, because they tell a user nothing."""
    text = text.replace("Value error, ", "")
    text = re.sub(r"Input should be a valid (integer|number)(, [\w ]*)?", r"expected a \1", text)
    text = re.sub(r"Input should be a valid boolean(, [\w ]*)?", "expected true or false", text)
    text = re.sub(r"Input should be a valid (dictionary|list|string)", _kind_of_value, text)
    text = re.sub(r"\b(Input|Value|Tuple|String|List|Dictionary) should (be|have) ", "expected ", text)
    text = text.replace(" after validation", "")
    return text.replace("expected a integer", "expected a whole number")


def _kind_of_value(found: re.Match[str]) -> str:
    return {"dictionary": "expected a table", "list": "expected a list", "string": "expected a text"}[found[1]]


MANY, SHOWN = 20, 8
"""Of more known names than ``MANY``, only the ``SHOWN`` nearest are shown: hundreds would bury the message."""


OTHER_WORDS = {
    "linf": "pgd",
    "ifgsm": "bim",
    "l2": "cw",
    "c&w": "cw",
    "carlini": "cw",
    "carliniwagner": "cw",
    "spatial": "stadv",
    "flow": "stadv",
    "integratedgradients": "ig",
    "epsilon": "eps",
    "iterations": "steps",
    "niter": "steps",
    "nsteps": "steps",
    "numsteps": "steps",
    "norm": "perturbation",
    "target": "target_class",
    "targets": "target_class",
    "preset": "variant",
}
"""Usual words of the field, and our names for them."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Make an error for an unknown ``name`` that suggests a known one; see ``similar_names``."""
    names = sorted(known)
    near = similar_names(name, names)
    suggestion = f" Did you mean {near[0]!r}?" if near else ""
    if len(names) <= MANY:
        return InputError(f"unknown {kind} {name!r}.{suggestion} Known: {', '.join(names)}.")
    shown = (near or names)[:SHOWN]
    return InputError(
        f"unknown {kind} {name!r}.{suggestion} Known: {', '.join(shown)}, ... and {len(names) - len(shown)} more."
    )


def similar_names(name: str, known: Iterable[str]) -> list[str]:
    """List known names that somebody who writes ``name`` may mean, the best one first.

    These are a name of ours for that word (``OTHER_WORDS``), known names with the word after a colon, and the most
    similar known names. Upper and lower case do not count.
    """
    names = sorted(known)
    meant = _bare(name)
    same = [each for each in names if OTHER_WORDS.get(meant) == each]
    same += [each for each in names if ":" in each and _bare(each.rpartition(":")[2]) == meant]
    spelled: dict[str, list[str]] = {}
    for known_name in names:
        spelled.setdefault(known_name.lower(), []).append(known_name)
    close = difflib.get_close_matches(name.lower(), spelled, n=SHOWN, cutoff=0.5)
    nearest = [sorted(spelled[each], key=lambda one: sum(map(str.__ne__, one, name))) for each in close]
    return list(dict.fromkeys(same + [known_name for group in nearest for known_name in group]))


def _bare(name: str) -> str:
    return re.sub("[-_ ]", "", name.lower())
