"""Reading a password or a token out of the file that has it."""

from pathlib import Path

from dicom_worklist.errors import SourceError


def read(path: str, what: str) -> str:
    """Return the text of a file, without the line end at its end; `what` is its name in messages.

    Raises:
        SourceError: it can't be read, or is empty.
    """
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{what} can't be read from {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8'}. "
            "Write it there, readable by this user"
        ) from error
    if not text:
        raise SourceError(f"{what} can't be read from {path}: it is empty. Write it there")
    return text
