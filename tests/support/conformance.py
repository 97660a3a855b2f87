"""docs/conformance.md, as the tests read it, and the associations by which it is compared with the engines."""

import re
from collections.abc import Mapping

from pynetdicom import AE
from pynetdicom.association import Association

from dicom_worklist.worklist.broker import keep_answers
from support import live

TEXT = (live.PROJECT / "docs/conformance.md").read_text()


def table(text: str) -> list[list[str]]:
    """Return the rows of the statement's first table after a text."""
    rows = re.search(r"\n\|.*\n\| ---.*\n((?:\|.*\n)+)", TEXT[TEXT.index(text) :])
    assert rows, text
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[1].splitlines()]


def associated(port: int, called: str, contexts: Mapping[str, list[str]], calling: str = "PRISMA") -> Association:
    """Ask for an association: one context for each transfer syntax of each abstract syntax."""
    ae = AE(ae_title=calling)
    for uid, syntaxes in contexts.items():
        for syntax in syntaxes:
            ae.add_requested_context(uid, syntax)
    association = ae.associate("127.0.0.1", port, ae_title=called)
    keep_answers(association)
    return association


def says(section: str, association: Association) -> bool:
    """Compare what a section says with what the engine says of itself."""
    rows = {row[0]: row[1] for row in table(section)}
    engine = association.acceptor
    return (
        rows["maximum PDU received"] == str(engine.maximum_length)
        and rows["implementation class UID"] == engine.implementation_class_uid
        and rows["implementation version name"] == engine.implementation_version_name
        and engine.asynchronous_operations == (1, 1)
    )
