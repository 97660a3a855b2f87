"""What the front door costs: a page, an archive and images over DICOMweb through it, against Orthanc itself."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import requests

from bench.measure import Row, pairs
from support import clients, live
from support.images import synthetic_image

SLICES = 200
Login = tuple[str, str]


def rows(folder: Path) -> Iterator[Row]:
    """Send a series, and fetch it both ways; the test site is deployed."""
    site, config = live.Site(), Path(live.VARIABLES["orthanc_config_dir"])
    inside = docker.from_env().containers.get(live.VARIABLES["orthanc_container_name"]).attrs["NetworkSettings"]
    address = inside["Networks"][live.VARIABLES["orthanc_network"]]["IPAddress"]
    own: Login = ("front-door", (config / "front-door.password").read_text().strip())
    images = [synthetic_image(folder / f"{number}.dcm", number, 256) for number in range(SLICES)]
    for image in images:
        assert clients.storescu("PRISMA", image) == 0
    study = site.orthanc("/studies").json()[0]
    instances = site.orthanc("/dicom-web/instances?limit=1000").json()
    levels = ("0020000D", "0020000E", "00080018")
    uids = [[one[tag]["Value"][0] for tag in levels] for one in instances]
    paths = [f"/dicom-web/studies/{study}/series/{series}/instances/{image}/frames/1" for study, series, image in uids]

    def took(base: str, login: Login, wanted: list[str]) -> Callable[[], float]:
        def ask() -> float:
            with requests.Session() as session:
                session.auth = login
                session.trust_env = False
                began = time.perf_counter()
                for path in wanted:
                    answer = session.get(base + path, timeout=60)
                    assert answer.status_code == 200, answer.text
                return time.perf_counter() - began

        return ask

    for what, wanted in {
        "Orthanc's page of a study": ["/app/explorer.html", f"/studies/{study}", f"/studies/{study}/series"] * 10,
        f"the archive of {SLICES} images": [f"/studies/{study}/archive"],
        f"{len(paths)} images over DICOMweb": paths,
    }.items():
        front, behind = took(site.orthanc_url, site.login, wanted), took(f"http://{address}:8042", own, wanted)
        ours, stock, ratio = pairs(f"front door: {what}", front, behind)
        yield Row(f"{what}, through the front door", "Orthanc itself", f"{ours:.2f} s", f"{stock:.2f} s", ratio)
    site.orthanc(f"/studies/{study}", method="DELETE")
