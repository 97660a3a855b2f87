"""Check a configuration (stdin) with the package itself, and whose the labs of the calendar (arguments) would be."""

import sys
import tempfile

from dicom_worklist.config import load
from dicom_worklist.errors import ConfigError

with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
    file.write(sys.stdin.read())
    file.flush()
    try:
        config = load(file.name)
    except ConfigError as error:
        sys.exit(str(error).replace(f"the configuration {file.name}: ", ""))
for lab in [*sys.argv[1:], *(scanner.ae_title for scanner in config.scanners)]:
    matches = [scanner.ae_title for scanner in config.scanners if scanner.matches(lab)]
    if len(matches) > 1:
        sys.exit(f"the lab {lab!r} would be {' and '.join(matches)}, so its bookings would be rejected")
    if not matches and lab in sys.argv[1:]:
        sys.exit(f"the lab {lab!r} of worklist_sync_example_labs would be no scanner's")
