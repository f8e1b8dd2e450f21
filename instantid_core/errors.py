"""The exceptions of this pack.

    InstantIDError               base of all; its text is written for the user
    +-- MissingFileError         a model file or folder is not where it was looked for
    +-- MissingDependencyError   a Python package is not installed or lacks what is needed
    +-- WrongFileError           a file is there, but is not what this place takes
    +-- WrongModelError          a MODEL or CONTROL_NET that InstantID cannot work with
    +-- WrongInputError          an image, mask, number or object a node cannot take
    +-- NoFaceError              a picture in which no face was found
    +-- OutOfMemoryError         the computer's memory or the GPU's ran out

Every message says what was found, what was wanted, and what to do next.
"""


class InstantIDError(Exception):
    """Base of all errors whose text is written for the user."""


class MissingFileError(InstantIDError):
    """A model file or folder is not where it was looked for."""


class MissingDependencyError(InstantIDError):
    """A Python package is not installed, or lacks what is needed."""


class WrongFileError(InstantIDError):
    """A file is there, but is not what this place takes."""


class WrongModelError(InstantIDError):
    """A MODEL or CONTROL_NET that InstantID cannot work with."""


class WrongInputError(InstantIDError):
    """An image, mask, number or object that a node cannot take."""


class NoFaceError(InstantIDError):
    """A picture in which no face was found."""


class OutOfMemoryError(InstantIDError, MemoryError):
    """The memory of the computer or of the GPU ran out."""
