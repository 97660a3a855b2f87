"""The action `site_inputs`, with a role of the tests' own beside the role site."""

import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.configuration import write_yaml
from support.plays import ROOT, Result, run

OPTIONS: dict[str, dict[str, Any]] = {
    "example_port": {"type": "int", "default": 0, "description": "Where it listens."},
    "example_dir": {"type": "path", "default": "/srv", "description": "Where it lives."},
    "example_password": {"type": "str", "default": "", "no_log": True, "description": "What opens it."},
    "example_scanners": {"type": "list", "elements": "dict", "default": [], "description": "The clients."},
    "example_ca": {"type": "str", "default": "", "description": "Whom it trusts."},
}
CHECKS = {
    "facts": ["example_fact"],
    "roles": ["lender"],
    "scanners": "{{ example_scanners }}",
    "certificates": [{"variable": "example_ca", "pem": "{{ example_ca }}"}],
    "ports": [
        {"port": "{{ example_port }}", "address": "127.0.0.1", "variable": "example_port", "containers": ["no such"]}
    ],
    "space": [{"folder": "{{ example_dir }}", "minimum": 0, "variable": "example_minimum_free"}],
    "rules": [{"that": "{{ example_password != 'weak' }}", "message": "Choose a better example_password."}],
}
FREE = 18999


def certificate(until: int) -> str:
    """Return a certificate that is valid from 1990 until a year."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=authority.example")
    built = x509.CertificateBuilder(name, name, key.public_key(), 1)
    built = built.not_valid_before(datetime(1990, 1, 1, tzinfo=UTC)).not_valid_after(datetime(until, 1, 1, tzinfo=UTC))
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("roles")
    for part in ("defaults", "meta", "tasks", "vars"):
        (folder / "example" / part).mkdir(parents=True)
    role = folder / "example"
    write_yaml(role / "defaults/main.yml", {name: option["default"] for name, option in OPTIONS.items()})
    write_yaml(role / "meta/argument_specs.yml", {"argument_specs": {"main": {"options": OPTIONS}}})
    write_yaml(role / "meta/renamed.yml", {"example_folder": "example_dir"})
    write_yaml(role / "vars/main.yml", {"__example_checks": CHECKS})
    write_yaml(role / "tasks/main.yml", [{"name": "Check", "site_inputs": {"role": "example"}}])
    for part in ("meta", "vars"):
        (folder / "lender" / part).mkdir(parents=True)
    own = {"lender_dir": {"type": "path", "description": "Where it lives."}}
    write_yaml(folder / "lender/meta/argument_specs.yml", {"argument_specs": {"main": {"options": own}}})
    write_yaml(folder / "lender/vars/main.yml", {"lender_address": "192.0.2.1"})
    (folder / "site").symlink_to(ROOT / "roles/site")
    return folder


def asked(home: Path, roles: Path, *given: dict[str, Any]) -> tuple[list[Result], str]:
    """Return the result of the role with each of these variables; a free port unless they have another."""
    plays = []
    for variables in given:
        task = {"ansible.builtin.include_role": {"name": str(roles / "example"), "rolespec_validate": False}}
        plays.append({"vars": {"example_port": FREE} | variables, "tasks": [{"block": [task], "rescue": [NOTHING]}]})
    results, said = run(home, *plays, options=("-vvv",))
    return [result for result in results if result.get("action") == "site_inputs"], said


NOTHING = {"name": "Go on", "ansible.builtin.meta": "noop"}
SCANNER = {"ae_title": "PRISMA"}
#: What is given → what the message has to say, each on a line of its own; nothing, if all is right.
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "nothing": ({}, ()),
    "a fact of the role": ({"example_fact": 1}, ()),
    "what an internal role sets for others": ({"lender_address": "192.0.2.1"}, ()),
    "a wrong name of an internal role": ({"lender_adress": "192.0.2.1"}, ("lender has no variable lender_adress",)),
    "names of every kind": (
        {"example_folder": "/srv", "example_prot": 1, "site_scaners": []},
        ("no variable site_scaners, so it would change nothing. Is site_scanners meant?",
         "example_folder is called example_dir now.", "no variable example_prot, so it would change nothing. Is"),
    ),
    "two that can't be read": (
        {"example_password": "{{ vault_a }}", "site_name": "{{ nobody.name }}"},
        ("site_name can't be read", "example_password can't be read"),
    ),
    "forms of every kind": (
        {"site_firewall": "perhaps", "example_dir": "srv", "example_password": 12345678, "example_port": "dicom"},
        ("site_firewall", "example_password is not text", "example_port", 'example_dir is "srv"'),
    ),
    "a scanner without its title": ({"example_scanners": [{"lab": "PRISMA"}]}, ("ae_title found in example_scanners",)),
    "a scanner with an unknown key": (
        {"example_scanners": [SCANNER | {"colour": "grey"}]}, ("colour",),
    ),
    "a scanner's port that is a word": ({"example_scanners": [SCANNER | {"port": "dicom"}]}, ("'port'",)),
    "a rule": ({"example_password": "weak"}, ("Choose a better example_password.",)),
    "an authority": ({"example_ca": certificate(9999) + certificate(9998)}, ()),
    "an authority of the past": (
        {"example_ca": certificate(9999) + certificate(2000)},
        ("example_ca has the certificate of CN=authority.example, which is not valid since 2000-01-01",),
    ),
    "a path where a certificate belongs": ({"example_ca": "/etc/ca.crt"}, ("example_ca must be PEM text",)),
    "a port of another role": (
        {"__site_checked": {"other": [{"port": FREE, "address": "0.0.0.0", "variable": "other_port"}]}},
        (f"example_port is {FREE} on localhost, as other_port is.",),
    ),
    "its own port of before": (
        {"__site_checked": {"example": [{"port": FREE, "address": "0.0.0.0", "variable": "example_port"}]}}, (),
    ),
    "more that is wrong than one": (
        {"example_port": 22, "example_scanners": [SCANNER, SCANNER], "example_password": "weak"},
        ("is there twice", "example_port is 22", "Choose a better"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def answers(roles: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    results, said = asked(tmp_path_factory.mktemp("asked"), roles, *(variables for variables, _ in CASES.values()))
    assert "12345678" not in said
    return dict(zip(CASES, results, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_all_that_is_wrong_is_said_at_once(case: str, answers: dict[str, Result]) -> None:
    _, said = CASES[case]
    result = answers[case]
    assert bool(result.get("failed")) is bool(said), result.get("msg")
    lines = result["msg"].splitlines() if said else []
    assert len(lines) == len(said), lines
    assert not [(line, fragment) for line, fragment in zip(lines, said, strict=True) if fragment not in line]
    assert not result["changed"]


def test_what_is_right_is_remembered_with_its_ports(answers: dict[str, Result]) -> None:
    [port] = answers["nothing"]["checked"]["example"]
    assert (port["port"], port["variable"]) == (FREE, "example_port")


def test_a_port_that_another_program_has_is_refused(roles: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        [result], _ = asked(tmp_path, roles, {"example_port": listener.getsockname()[1]})
    assert "which is taken on localhost" in result["msg"]
