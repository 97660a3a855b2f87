"""Keeps the web viewer from showing what was deleted: its cache still has the images and the names.

Nothing makes that cache forget one study. So Orthanc is asked first whether it has what the viewer would show.
"""

import re

import orthanc

ASKS = re.compile("/+web-viewer/+(instances|series)/")
SHOWS = re.compile("/web-viewer/(instances|series)/(?:[a-z0-9]+-)?([0-9a-f]{8}(?:-[0-9a-f]{8}){4})(?:_[0-9]+)?")


def there(level, name):
    """Whether Orthanc has it."""
    try:
        orthanc.RestApiGet(f"/{level}/{name}/metadata")
    except orthanc.OrthancException:
        return False
    return True


def may_be_answered(uri, **_request):
    """Whether a request asks for what is there, or not for what the viewer shows at all."""
    if not ASKS.match(uri):
        return True
    shows = SHOWS.fullmatch(uri)
    return bool(shows) and there(*shows.groups())


orthanc.RegisterIncomingHttpRequestFilter(may_be_answered)
