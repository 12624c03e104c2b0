"""The errors the registry tells apart.

Does not belong here: how each is handled, which is the process manager's business.
"""


class DataRegistryError(Exception):
    """Base class of the registry's own errors."""


class ConfigurationError(DataRegistryError):
    """The registry is set up wrongly: the message names the setting or the file, and the remedy. Never retried."""


class UnexpectedError(DataRegistryError):
    """A service or a file is not as its contract says. Fails the task and ends the job."""


class RecoverableError(DataRegistryError):
    """Something that may pass by itself (a timeout, a refused connection). Retried until the task's deadline."""


class LockFileError(DataRegistryError):
    """The same work was asked for twice: another process holds it. The second one harms nothing."""
