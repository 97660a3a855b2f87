"""The site is taken away again: after this nothing finds it."""

from pathlib import Path

import docker

from support import clients, live
from support.images import synthetic_image

V = live.VARIABLES


def test_teardown_leaves_nothing_but_the_data(site: live.Site, tmp_path: Path) -> None:
    """Without the variable the data stay, with it they go."""
    image = synthetic_image(tmp_path / "image.dcm")
    assert clients.storescu("PRISMA", image) == 0
    played = live.play("teardown.yml")
    assert played.status == 0, played.output
    engine = docker.from_env()
    ours = [V["orthanc_container_name"], V["wlmscpfs_container_name"]]
    assert not [c for c in engine.containers.list(all=True) if c.name in ours]
    assert not [n for n in engine.networks.list() if n.name in (V["orthanc_network"], V["wlmscpfs_network"])]
    for gone in ("worklist_sync_home", "worklist_sync_config_dir", "orthanc_config_dir", "worklist_sync_command"):
        assert not Path(V[gone]).exists(), gone
    assert not Path("/etc/cron.d", V["worklist_sync_cron_name"]).exists()
    assert any(path.is_file() for path in Path(V["orthanc_data_dir"]).rglob("*"))
    assert live.play("teardown.yml", "-e", "site_teardown_data=true").status == 0
    assert not Path(V["orthanc_data_dir"]).exists()
    assert not Path(V["wlmscpfs_data_dir"]).exists()
    assert live.traces() == []
