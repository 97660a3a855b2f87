"""Reading a password or a token out of the file that has it."""

import html
import json
import re
from collections.abc import Iterable
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


def hidden(words: str, secrets: Iterable[str]) -> str:
    """Return the words with … in place of each secret, in every form a server repeats it.

    Known are the escapes of JSON, also twice, of HTML and of addresses, in capitals or not, and other blanks.
    """
    for secret in sorted(filter(str.strip, secrets), key=len, reverse=True):
        words = re.sub("".join(map(_forms, " ".join(secret.split()))), "…", words, flags=re.IGNORECASE)
    return words


def _forms(character: str) -> str:
    """Return a regular expression for the forms of a character; of a blank for those of one or several."""
    if character == " ":
        return r"(?:\s|\+|&nbsp;|\\{1,4}t|(?:%|\\{1,4}u00|&#x)(?:20|0?9);?|&#(?:32|9);)+"
    number = ord(character)
    forms = {
        character,
        json.dumps(character)[1:-1],
        f"\\u{number:04x}",
        "".join(f"%{byte:02x}" for byte in character.encode()),
        html.escape(character),
        f"&#{number};",
        f"&#x{number:x};",
    }
    return rf"\\{{0,4}}(?:{'|'.join(sorted(map(re.escape, forms), key=len, reverse=True))})"
