"""Every error that CTEG raises on purpose.

All of them derive from `CtegError`, whose message is one plain sentence that a user may read. The edges (command line,
app, web API) catch `CtegError` and show the sentence; anything else is a defect and shows as such.
"""


class CtegError(Exception):
    """Base of all errors whose message is meant for the user."""


class InputError(CtegError):
    """A text, setting or file that the user gave cannot be used."""


class SpaceError(CtegError):
    """A clip, a rig or a model was combined with one of another coefficient space."""


class WeightsError(CtegError):
    """A weight file is missing, damaged or does not fit its configuration."""


class StudyError(CtegError):
    """A rating cannot be accepted or stored."""


class StorageError(StudyError):
    """The database, the disk or the event log fails; the same request may succeed later."""
