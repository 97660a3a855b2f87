"""From a study to its images and to its booking: what Orthanc Explorer's page of a study has in addition.

The web viewer shows one series. So `/studies/ID/view` is a page with all series of a study, and the viewer in it.
"""

import html
import json
from pathlib import Path

import orthanc

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{subject}</title>
<style>
html, body {{ height: 100%; margin: 0; }}
body {{ display: grid; grid-template-columns: minmax(9rem, 18rem) 1fr; font: .875rem/1.4 system-ui, sans-serif; }}
nav {{ overflow: auto; padding: .75rem; background: #1b212a; color: #e6eaf0; overflow-wrap: anywhere; }}
h1 {{ margin: 0 0 .5rem; font-size: 1rem; }}
ol {{ margin: 0; padding: 0; list-style: none; }}
li {{ margin: .6rem 0; }}
a {{ color: #8cc2ff; }}
iframe {{ width: 100%; height: 100%; border: 0; background: #000; }}
@media (max-width: 44rem) {{ body {{ grid-template: minmax(6rem, 25%) 1fr / 1fr; }} }}
</style>
</head>
<body>
<nav aria-label="Series">
<h1><bdi>{subject}</bdi></h1>
<p><a href="../../app/explorer.html#study?uuid={study}">Study in Orthanc</a> · <a href="archive">Download</a></p>
<ol>
{series}
</ol>
</nav>
<iframe name="images" title="Images of a series" src="{first}"></iframe>
</body>
</html>
"""
VIEWER = "../../web-viewer/app/viewer.html?series="


def number(series):
    """The place of a series in its study."""
    text = series["MainDicomTags"].get("SeriesNumber", "").strip()
    return (int(text) if text.isdecimal() else 0, series["ID"])


def line(series):
    """A series in the list; what a console wrote is text."""
    tags = series["MainDicomTags"]
    said = [tags.get(name, "").strip() for name in ("SeriesNumber", "SeriesDescription", "Modality")]
    count = len(series["Instances"])
    text = " · ".join([*filter(None, said), f"{count} image{'' if count == 1 else 's'}"])
    return f'<li><a href="{VIEWER}{series["ID"]}" target="images"><bdi>{html.escape(text)}</bdi></a></li>'


def answer(output, _path, **request):
    """Give the page of a study."""
    if request["method"] != "GET":
        output.SendMethodNotAllowed("GET")
        return
    study = request["groups"][0]
    try:
        patient = json.loads(orthanc.RestApiGet(f"/studies/{study}"))["PatientMainDicomTags"]
        series = sorted(json.loads(orthanc.RestApiGet(f"/studies/{study}/series")), key=number)
    except orthanc.OrthancException:
        output.SendHttpStatusCode(404)
        return
    subject = patient.get("PatientName", "") or patient.get("PatientID", "") or "no name"
    page = PAGE.format(
        subject=html.escape(subject),
        study=study,
        series="\n".join(map(line, series)),
        first=VIEWER + series[0]["ID"] if series else "about:blank",
    )
    output.AnswerBuffer(page, "text/html; charset=utf-8")


orthanc.RegisterRestCallback("/studies/([0-9a-f]{8}(?:-[0-9a-f]{8}){4})/view", answer)
orthanc.ExtendOrthancExplorer(Path(__file__).with_name("explorer.js").read_text())
