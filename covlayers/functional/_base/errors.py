"""The typed errors of the library."""

from torch.linalg import LinAlgError as LinAlgError  # type: ignore[attr-defined]  # untyped there


class InvalidValueError(ValueError):
    """An argument of the right type has a value that the function cannot use.

    Example:
        >>> try:
        ...     NewtonSchulz(iterations=0)
        ... except InvalidValueError as error:
        ...     print(error)
        iterations must be at least 1, got 0.
    """


class InvalidTypeError(TypeError):
    """An argument has a type or dtype that the function cannot use.

    Example:
        >>> try:
        ...     NewtonSchulz(iterations=0.5)
        ... except InvalidTypeError as error:
        ...     print(error)
        iterations must be an int, got 0.5.
    """


class UnsupportedError(NotImplementedError, ValueError):
    """A combination of function, method and rule, or a derivative, that has no meaning.

    Example:
        >>> try:
        ...     logm(torch.eye(2), method="pade")
        ... except UnsupportedError as error:
        ...     print(error)
        Pade(degree=5) cannot compute logm; take a method that can, e.g. method='eigh'.
    """


class ConvergenceError(LinAlgError):  # type: ignore[misc]  # untyped in torch
    """An eigendecomposition did not converge, not even in float64.

    Example:
        >>> issubclass(ConvergenceError, torch.linalg.LinAlgError)
        True
    """
