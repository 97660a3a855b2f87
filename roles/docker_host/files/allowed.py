"""Check who may connect; the message and the exit status say what is wrong.

In (JSON): {"lists": [{"variable", "addresses", "scanners": whether all have to be in it}],
"scanners": [{"ae_title", "address"}]}.
"""

import json
import re
import sys
from ipaddress import IPv4Network, ip_network


def network(variable: str, text: str) -> IPv4Network:
    """Return the address or the network."""
    try:
        if not re.fullmatch(r"[0-9.]+(/[0-9]{1,2})?", text):
            raise ValueError(text)  # nftables knows no other form
        return IPv4Network(text)
    except ValueError as error:
        wider = f" Did you mean {ip_network(text, strict=False)}?" if "host bits" in str(error) else ""
        sys.exit(
            f'"{text}" in {variable} is not an IPv4 address or network (192.0.2.7, 192.0.2.0/24).{wider} Names don\'t '
            'work: nobody looks them up for each connection. Correct it, or "address" in site_scanners.'
        )


asked = json.load(sys.stdin)
known = {scanner["ae_title"]: str(scanner["address"]) for scanner in asked["scanners"] if "address" in scanner}
unknown = [scanner["ae_title"] for scanner in asked["scanners"] if "address" not in scanner]
for allowed in asked["lists"]:
    variable, addresses = allowed["variable"], [str(address) for address in allowed["addresses"]]
    networks = [network(variable, address) for address in addresses]
    if not networks or not allowed.get("scanners"):
        continue
    if unknown and set(addresses) == set(known.values()):
        sys.exit(
            f"Only {', '.join(addresses)} would be answered, because some scanners have an address in site_scanners "
            f"and {', '.join(unknown)} has none. Give every scanner an address, or none, or say yourself who may "
            f"connect, in {variable} ([] is everyone)."
        )
    for ae_title, address in known.items():
        if not any(network("site_scanners", address).subnet_of(wide) for wide in networks):
            sys.exit(
                f"The scanner {ae_title} at {address} would be kept out: {variable} is {', '.join(addresses)}. Add its "
                f"address there, or take {variable} out of the inventory, so that it follows site_scanners."
            )
