"""`python -m dicom_worklist` is the command `dicom-worklist`."""

import sys

from dicom_worklist.cli import main

sys.exit(main())
