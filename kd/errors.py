"""Every error kd raises for its users.

KdError
  ConfigError               mistakes in a configuration, all at once                          exit 2
  UsageError                a command that cannot be carried out as given                     exit 2
    MissingExtraError         a package is not installed; says which pip line brings it
  StageError                a stage cannot go on: reason, and whether another try can help    exit 1
    PauseNeededError          the run pauses by itself: teacher gone, disk full, budget spent
  DigestMismatchError       stored bytes are not what their digest says                       exit 5
  LinkMismatchError         another record lies where a link points than it was made of       exit 5
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

__all__ = [
    "ConfigError",
    "ConfigProblem",
    "DigestMismatchError",
    "KdError",
    "LinkMismatchError",
    "MissingExtraError",
    "PauseNeededError",
    "StageError",
    "UsageError",
]


class KdError(Exception):
    """Any error that kd explains to its user; `hint` says what to do."""

    hint: str = ""


@frozen(kw_only=True)
class ConfigProblem:
    """One mistake in a configuration: where it is, and what is, what was expected, what to do."""

    path: str
    """Dotted path of the key, `training.steps`."""
    message: str
    file: str | None = None
    line: int | None = None
    """Line in the file, from 1."""

    def __str__(self) -> str:
        place = f"{self.file or '<config>'}" + (f":{self.line}" if self.line else "")
        return f"{place}: {self.path}: {self.message}"


class ConfigError(KdError):
    """All mistakes found in one configuration."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class UsageError(KdError):
    """A command that cannot be carried out as given."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class MissingExtraError(UsageError):
    """A package that this work needs is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed.",
            hint=f"Install it with: pip install 'kd-ledger[{extra}]'",
        )


class StageError(KdError):
    """A stage cannot go on; the runner records `step` and `reason` as the stage's failure."""

    def __init__(self, step: str, reason: str, *, is_retryable: bool, hint: str = "") -> None:
        super().__init__(reason)
        self.step = step
        self.reason = reason
        self.is_retryable = is_retryable
        self.hint = hint


class PauseNeededError(StageError):
    """The run pauses by itself and `kd resume` goes on: `cause` is `teacher_unavailable`, `disk` or `budget`."""

    def __init__(self, step: str, cause: str, reason: str, *, hint: str = "") -> None:
        super().__init__(step, reason, is_retryable=True, hint=hint)
        self.cause = cause


class DigestMismatchError(KdError):
    """Stored bytes are not what their digest says."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        super().__init__(f"{path} has SHA-256 {found}, expected {expected}: it was altered; restore it or run again.")
        self.path = path
        self.expected = expected
        self.found = found


class LinkMismatchError(KdError):
    """Another record lies where a link points than the link was made of."""

    def __init__(self, link: str, found: str) -> None:
        super().__init__(f"{link!r} was made of another record than {found!r} here: look whether this is its ledger.")
        self.link = link
        self.found = found
