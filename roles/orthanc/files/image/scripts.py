"""What the Python plug-in runs."""

import commitment  # noqa: F401 - it registers itself
import disk  # noqa: F401
import explorer  # noqa: F401
import refused  # noqa: F401
import viewer  # noqa: F401
