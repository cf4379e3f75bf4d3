"""Every error that tierflow raises on purpose, and the exit code each becomes.

```
TierflowError                                70  internal error
├── ConfigError          (ValueError)        78  the configuration or the command line is wrong
│   └── QueryError                           78  a search query can't be read
├── InputMissingError    (FileNotFoundError) 66  an input file or folder isn't there
├── TryAgainError        (OSError)           75  lock held, disk full, share away: the same call may work later
├── TooManyFailedError                       76  more objects failed than `run.max_failed_share` allows
├── TableError           (ValueError)        70  a table of the run is damaged or of another schema version
└── ObjectError                               -  one object is bad: it becomes a row and goes to quarantine
    ├── EmptyFileError       flag empty_file
    ├── MissingFileError     flag missing
    ├── UnreadableError      flag unreadable
    ├── TruncatedError       flag truncated
    ├── UnsupportedError     flag unsupported
    ├── TooLargeError        flag too_large
    ├── UnmeasurableError    flag unmeasurable
    └── PoisonError          flag poison
```

Exit code 0 is success; 64 and 65 are left to Argo's executor.
A message holds the value, what was expected, and what to do.
"""

from __future__ import annotations

import errno

EXIT_INPUT_MISSING = 66
EXIT_INTERNAL = 70
EXIT_TRY_AGAIN = 75
EXIT_TOO_MANY_FAILED = 76
EXIT_CONFIG = 78


class TierflowError(Exception):
    """Root of all errors that tierflow raises on purpose."""

    exit_code = EXIT_INTERNAL


class ConfigError(TierflowError, ValueError):
    """A configuration file, option or combination of options is wrong."""

    exit_code = EXIT_CONFIG


class QueryError(ConfigError):
    """A search query, column or sort key can't be understood."""


class InputMissingError(TierflowError, FileNotFoundError):
    """An input file or folder that the user named isn't there."""

    exit_code = EXIT_INPUT_MISSING


class TryAgainError(TierflowError, OSError):
    """Something outside stands in the way for now: a lock, a full disk, a network share that is away."""

    exit_code = EXIT_TRY_AGAIN


class TooManyFailedError(TierflowError):
    """More objects failed than `run.max_failed_share` allows; nothing was placed."""

    exit_code = EXIT_TOO_MANY_FAILED


class TableError(TierflowError, ValueError):
    """A table of a run can't be read or was written by an incompatible version."""


class ObjectError(TierflowError):
    """One object is bad. Caught inside the step and kept as a row with `flag` and the message as its reason."""

    flag = "unreadable"


class EmptyFileError(ObjectError):
    """The file has no bytes."""

    flag = "empty_file"


class MissingFileError(ObjectError):
    """The file vanished after the scan, or a link leads nowhere."""

    flag = "missing"


class UnreadableError(ObjectError):
    """The file can't be opened or its content is damaged."""

    flag = "unreadable"


class TruncatedError(ObjectError):
    """The file ends before the image does."""

    flag = "truncated"


class UnsupportedError(ObjectError):
    """The content isn't an image of a kind that tierflow reads."""

    flag = "unsupported"


class TooLargeError(ObjectError):
    """The image declares more pixels than `extract.max_plane_mb` allows to be held."""

    flag = "too_large"


class UnmeasurableError(ObjectError):
    """The pixels were read but no feature can be computed from them."""

    flag = "unmeasurable"


class PoisonError(ObjectError):
    """Every attempt to handle the object ended its process or failed; only a stream that tries again notices this."""

    flag = "poison"


LASTING: dict[int, type[TierflowError]] = {
    kind.exit_code: kind for kind in (ConfigError, InputMissingError, TooManyFailedError)
}
"""What a process that ended with one of these codes would meet again; where several did, the first says most."""

# Errors of the file system that pass by themselves or by an operator's hand; all others are errors for good.
_PASSING_ERRNO = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.EBUSY, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ESTALE, errno.EIO}
)


def is_passing(error: OSError) -> bool:
    """Tell whether an operating-system error may be gone later (disk full, share away, lock held)."""
    return error.errno in _PASSING_ERRNO


def exit_code_of(error: BaseException) -> int:
    """Map any exception to tierflow's exit code.

    Args:
        error: What ended the command.

    Returns:
        75 for passing operating-system errors, the class's own code for `TierflowError`, 70 for everything else.
    """
    if isinstance(error, TierflowError):
        return error.exit_code
    if isinstance(error, OSError) and is_passing(error):
        return EXIT_TRY_AGAIN
    return EXIT_INTERNAL
