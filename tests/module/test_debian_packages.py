"""The module `debian_packages`: what is missing is installed, and nothing is asked if nothing is."""

from pathlib import Path

from support.modules import run_one
from support.web import Reply, serving


def test_packages_that_are_there_ask_no_mirror(tmp_path: Path) -> None:
    """There is no apt-get in this PATH."""
    (tmp_path / "dpkg-query").symlink_to("/usr/bin/dpkg-query")
    result = run_one(
        tmp_path, {"debian_packages": {"name": ["dpkg", "coreutils"]}, "environment": {"PATH": str(tmp_path)}}
    )
    assert (result["changed"], result["missing"]) == (False, [])


def test_check_mode_says_what_would_be_installed(tmp_path: Path) -> None:
    ask = {"debian_packages": {"name": ["dpkg", "no-such-package"]}}
    result = run_one(tmp_path, ask, options=["--check", "--diff"])
    assert (result["changed"], result["missing"]) == (True, ["no-such-package"])
    assert result["diff"]["after"] == "no-such-package\n"


def test_a_package_that_there_is_not_is_named_with_the_remedy(tmp_path: Path) -> None:
    result = run_one(tmp_path, {"debian_packages": {"name": ["dpkg", "no-such-package"]}})
    assert "apt-get install --no-install-recommends no-such-package" in result["msg"]
    assert "Debian mirror" in result["msg"]


def test_apt_asks_the_proxy_that_it_is_given(tmp_path: Path) -> None:
    """A real proxy, which refuses, in place of the one of the environment."""
    with serving(Reply(status=403)) as proxy:
        ask = {"debian_packages": {"name": ["hello"], "proxy": proxy.url}}
        result = run_one(tmp_path, {**ask, "environment": {"http_proxy": "http://127.0.0.1:9"}})
    assert any("/hello_" in asked.target for asked in proxy.asked)
    assert all(asked.target.startswith("http://") or asked.method == "CONNECT" for asked in proxy.asked)
    assert f"Let apt reach a Debian mirror through {proxy.url}" in result["msg"]
