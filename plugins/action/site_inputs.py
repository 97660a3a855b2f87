"""The Ansible action `site_inputs`: checks what the inventory gives a role; library/site_inputs.py documents it.

It is an action, because it reads variables before it is known whether they can be read, and because secrets that are
checked here leave neither this process nor this machine. What only the host knows it asks the module host_resources.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError, AnsibleUndefinedVariable
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from cryptography import x509

#: An AE title (PS3.5 6.2): no backslash, no control characters, no blanks at the ends.
AE_TITLE = re.compile(r"[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?")
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound here
Options = dict[str, dict[str, Any]]
Variables = dict[str, Any]


def specification(role: Path) -> dict[str, Options]:
    """Return the options of each entry point of a role."""
    entries = yaml.safe_load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    return {name: (entry or {}).get("options", {}) for name, entry in entries.items()}


def former_names(role: Path) -> dict[str, str]:
    """Return a role's variables that were renamed, each with its present name."""
    table = role / "meta/renamed.yml"
    return yaml.safe_load(table.read_text(encoding="utf-8")) if table.exists() else {}


def lent_names(role: Path) -> set[str]:
    """Return the variables that an internal role sets for others; a play that imports the role has them."""
    variables = role / "vars/main.yml"
    return {*yaml.safe_load(variables.read_text(encoding="utf-8"))} if variables.exists() else set()


def wrong_names(role: str, names: set[str], known: set[str], options: Options, former: dict[str, str]) -> Iterator[str]:
    """Say which variables were renamed, and which the role doesn't have; `known` are further names that it takes."""
    for name in sorted(names & former.keys()):
        yield f"{name} is called {former[name]} now. Rename it in the inventory; see the README of the role {role}."
    for name in sorted(names - former.keys() - options.keys() - known):
        nearest = difflib.get_close_matches(name, options, 1)
        meant = f" Is {nearest[0]} meant?" if nearest else ""
        yield (
            f"The role {role} has no variable {name}, so it would change nothing.{meant} Correct the name in the "
            f"inventory, or begin a variable of your own with another word: roles/{role}/README.md lists them."
        )


def unreadable(name: str, why: str) -> str:
    """Say that a variable can't be read."""
    return (
        f"{name} can't be read: {why}. Define what it names in the inventory (a secret in the vault, with "
        '"ansible-vault edit"; see vault.yml.example), or correct its name.'
    )


def wrong_forms(role: str, options: Options, given: Variables, folders: set[str]) -> Iterator[str]:
    """Say which values are not of the form that the role specifies; `folders` are paths that may not be empty."""
    secrets = {name for name, option in options.items() if option.get("no_log") and option["type"] == "str"}
    for name in sorted(secrets & given.keys()):
        if given[name] is not None and not isinstance(given[name], str):
            yield (
                f"{name} is not text but a number, or the like, and needs quotes. Put it right with "
                '"ansible-vault edit"; see vault.yml.example.'
            )
    told = f"Correct it in the inventory: roles/{role}/README.md says what each variable may be."
    for error in ArgumentSpecValidator(options).validate(given).error_messages:
        about = next((option["description"] for name, option in options.items() if f"'{name}'" in error), "")
        yield " ".join([f"{error}.", *([about] if isinstance(about, str) else about), told]).replace("  ", " ")
    for name, option in options.items():
        path = given.get(name, "/")
        if option["type"] == "path" and (path or path in folders) and not str(path).startswith("/"):
            yield f'{name} is "{path}": it must be a whole path, with a slash first. Correct it in the inventory.'


def wrong_titles(scanners: list[Variables], own: list[Variables]) -> Iterator[str]:
    """Say which AE titles are invalid, and which are there twice; `own` are the role's, each with its variable."""
    titled = [(str(item["ae_title"]), item.get("variable", "it in site_scanners")) for item in [*scanners, *own]]
    for title, variable in titled:
        if not AE_TITLE.fullmatch(title):
            yield (
                f'The AE title "{title}" is not one: DICOM (PS3.5, 6.2) allows 1 to 16 characters, no backslash, no '
                f"control characters, no blanks at the ends. Correct {variable}."
            )
    twice = [title for title, count in Counter(title for title, _ in titled).items() if count > 1]
    if twice:
        others = "".join(f", and another than {item['variable']}" for item in own)
        yield (
            f'The AE title "{", ".join(twice)}" is there twice; a device is known by its AE title. Give each in '
            f"site_scanners its own{others}."
        )


def network(variable: str, text: str) -> IPv4Network:
    """Return the address or the network.

    Raises:
        ValueError: it is neither; the message says what to do.
    """
    try:
        if not re.fullmatch(r"[0-9.]+(/[0-9]{1,2})?", text):
            raise ValueError(text)  # nftables knows no other form
        return IPv4Network(text)
    except ValueError as error:
        wider = f" Did you mean {ip_network(text, strict=False)}?" if "host bits" in str(error) else ""
        raise ValueError(
            f'"{text}" in {variable} is not an IPv4 address or network (192.0.2.7, 192.0.2.0/24).{wider} Names don\'t '
            'work: nobody looks them up for each connection. Correct it, or "address" in site_scanners.'
        ) from error


def wrong_addresses(variable: str, addresses: list[str], scanners: list[Variables]) -> Iterator[str]:
    """Say what is wrong with a list of who may connect, in which each of these scanners has to be."""
    try:
        networks = [network(variable, address) for address in addresses]
        known = {str(item["ae_title"]): network("site_scanners", str(item["address"])) for item in scanners
                 if item.get("address") is not None}  # fmt: skip
    except ValueError as error:
        yield str(error)
        return
    unknown = [str(item["ae_title"]) for item in scanners if str(item["ae_title"]) not in known]
    if unknown and networks and set(networks) == set(known.values()):
        yield (
            f"Only {', '.join(addresses)} would be answered, because some scanners have an address in site_scanners "
            f"and {', '.join(unknown)} has none. Give every scanner an address, or none, or say yourself who may "
            f"connect, in {variable} ([] is everyone)."
        )
        return
    for title, address in known.items():
        if networks and not any(address.subnet_of(wide) for wide in networks):
            yield (
                f"The scanner {title} at {address.network_address} would be kept out: {variable} is "
                f"{', '.join(addresses)}. Add its address there, or take {variable} out of the inventory, so that it "
                "follows site_scanners."
            )


def wrong_certificates(variable: str, pem: str, now: datetime) -> Iterator[str]:
    """Say whether a PEM text (empty: none) has no certificates, or some that are no longer valid at `now`."""
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode()) if pem else []
    except ValueError:
        yield (
            f"{variable} must be PEM text of certificates, one after another, each from its BEGIN CERTIFICATE to its "
            'END CERTIFICATE line. Give what is in the file, not its path; "openssl x509" converts other forms.'
        )
        return
    for certificate in certificates:
        if certificate.not_valid_after_utc < now:
            yield (
                f"{variable} has the certificate of {certificate.subject.rfc4514_string()}, which is not valid since "
                f"{certificate.not_valid_after_utc:%Y-%m-%d}. Give a renewed one."
            )


def wrong_ports(ports: list[Variables], others: list[Variables], ansible_port: int, host: str) -> Iterator[str]:
    """Say which ports are invalid, and which other services (`others`) of this host want, too."""
    for port in ports:
        variable, number = port["variable"], str(port["port"])
        if not re.fullmatch(r"[0-9]+", number) or not 1 <= int(number) <= 65535 or int(number) == ansible_port:
            yield (
                f"{variable} is {number}: a port is a number from 1 to 65535, and not {ansible_port}, where Ansible "
                "itself comes in. Choose another."
            )
        same = [
            other["variable"]
            for other in [*ports, *others]
            if str(other["port"]) == number
            and other["variable"] != variable
            and (EVERYWHERE in (port["address"], other["address"]) or other["address"] == port["address"])
        ]
        if same:
            yield f"{variable} is {number} on {host}, as {', '.join(same)} is. Give each a port of its own."


def against_the_host(ports: list[Variables], space: list[Variables], found: Variables, host: str) -> Iterator[str]:
    """Say which ports something else has, and where there is too little space; `found` is host_resources' result."""
    for port, why in zip(ports, found["ports"], strict=True):
        if why and not (why == "taken" and int(port["port"]) in found["published"]):
            yield (
                f"{port['variable']} is {port['port']} at {port['address']}, which is {why} on {host}. Choose a port "
                'that is free ("ss -tlnp" shows who listens) and an address of the host ("ip address" shows them), or '
                "stop the other program."
            )
    for item, folder in zip(space, found["folders"], strict=True):
        # what is deployed already goes on with what there is: a password can still be changed
        if not found["deployed"] and folder["free"] is not None and folder["free"] < float(item["minimum"]):
            yield (
                f"{item['folder']} on {host} has {folder['free']} GB free (in {folder['path']}); {item['variable']} "
                f"asks for {item['minimum']} GB. Make room, choose another folder, or lower {item['variable']}."
            )


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible has no types
    """Checks the names of the variables, then their form, then what they say, then what the host has."""

    TRANSFERS_FILES = False

    def run(self, tmp: object = None, task_vars: Variables | None = None) -> Variables:
        """Return `checked`, the ports of the role; or fail with all that the first stage that finds something finds."""
        result: Variables = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec({"role": {"type": "str", "required": True}})
        self.role, self.variables = arguments["role"], task_vars or {}
        self.host = self.variables["inventory_hostname"]
        self.roles = roles = Path(self.variables["role_path"]).parent
        # those of the site, too: every role reads them
        self.folders = [roles / name for name in dict.fromkeys(["site", self.role])]
        for stage in (self._names, self._values, self._forms, self._contents, self._resources):
            if wrong := list(stage()):
                return result | {"failed": True, "msg": "\n".join(wrong)}
        return result | {"changed": False, "checked": {self.role: self._check("ports", [])}}

    def _check(self, name: str, default: Any) -> Any:
        """Return an item of the role's table of checks, `__<role>_checks`."""
        table = self.variables.get(f"__{self.role}_checks", {})
        return self._templar.template(table[name]) if name in table else default

    def _names(self) -> Iterator[str]:
        # the internal roles have no checks of their own
        for folder in [*self.folders, *(self.roles / name for name in self._check("roles", []))]:
            role, entries = folder.name, specification(folder)
            names = {name for name in self.variables if name.startswith(f"{role}_")}
            inner = {name for options in entries.values() for name in options}
            known = inner | (lent_names(folder) if folder not in self.folders else {*self._check("facts", [])})
            yield from wrong_names(role, names, known, entries["main"], former_names(folder))

    def _values(self) -> Iterator[str]:
        self.given: Variables = {}
        for folder in self.folders:
            options = specification(folder)["main"]
            for name in (name for name in options if name in self.variables):
                try:
                    self.given[name] = self._templar.template(self.variables[name])
                    json.dumps(self.given[name], default=str)  # reads what is within, too
                except AnsibleUndefinedVariable as error:
                    yield unreadable(name, f"it names a variable that isn't defined ({error.message})")
                except AnsibleError as error:
                    yield unreadable(name, "it is a secret" if options[name].get("no_log") else error.message)

    def _forms(self) -> Iterator[str]:
        scanner = specification(self.folders[0])["main"]["site_scanners"]["options"]
        needed = {item["folder"] for item in self._check("space", [])}
        for folder in self.folders:
            options = specification(folder)["main"]
            if own := options.get(f"{folder.name}_scanners"):
                own["options"] = scanner
            given = {name: value for name, value in self.given.items() if name in options}
            yield from wrong_forms(folder.name, options, given, needed)

    def _contents(self) -> Iterator[str]:
        scanners = self._check("scanners", [])
        yield from wrong_titles(scanners, self._check("ae_titles", []))
        for allowed in self._check("allowed", []):
            everyone = scanners if allowed.get("scanners") else []
            yield from wrong_addresses(allowed["variable"], list(map(str, allowed["addresses"])), everyone)
        for given in self._check("certificates", []):
            yield from wrong_certificates(given["variable"], given["pem"], datetime.now(UTC))
        checked = self.variables.get("__site_checked", {})
        others = [port for ports in checked.values() for port in ports]
        ansible_port = int(self._templar.template(self.variables.get("ansible_port", 22)))
        yield from wrong_ports(self._check("ports", []), others, ansible_port, self.host)
        yield from (rule["message"] for rule in self._check("rules", []) if not rule["that"])

    def _resources(self) -> Iterator[str]:
        ports, space = self._check("ports", []), self._check("space", [])
        if not ports and not space:
            return
        found = self._execute_module(
            module_name="host_resources",
            module_args={
                "ports": [{"address": port["address"], "port": int(port["port"])} for port in ports],
                "folders": [{key: item[key] for key in ("folder", "unless") if key in item} for item in space],
                "containers": sorted({name for port in ports for name in port["containers"]}),
            },
            task_vars=self.variables,
        )
        if found.get("failed"):
            yield f"{self.host} could not be asked for its ports and its space: {found.get('msg')}"
        else:
            yield from against_the_host(ports, space, found, self.host)
