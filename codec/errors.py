"""Whose fault it is: bytes that lie are a `DamagedBlock`, a request that makes no sense a `SchemaError`."""


class CodecError(ValueError):
    """Base of everything this package raises on purpose."""


class SchemaError(CodecError):
    """A schema, guard set or threshold that cannot be; the message names the signal."""


class NoKernels(ImportError):
    """Kernels that are neither compiled ahead for this machine and these sources, nor can be compiled by numba."""


class DamagedBlock(CodecError):
    """Bytes that are not a block of this stream: truncated, changed or out of their place."""


class UnknownBlock(CodecError):
    """A block that may be sound, but that this software or this side cannot read yet.

    `missing` says what is wanted: ("version", n), ("prior", hash) or ("schema", hash).
    """

    def __init__(self, message: str, missing: tuple[str, int | bytes]) -> None:
        super().__init__(message)
        self.missing = missing
