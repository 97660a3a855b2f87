"""Fail unless HOST PORT shows, over TLS, the first certificate that is in FILE."""

import ssl
import sys
from pathlib import Path

host, port, file = sys.argv[1:]
begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
expected = begin + Path(file).read_text(encoding="utf-8").partition(begin)[2].partition(end)[0] + end
shown = ssl.get_server_certificate((host, int(port)), timeout=10)
if ssl.PEM_cert_to_DER_cert(shown) != ssl.PEM_cert_to_DER_cert(expected):
    sys.exit("it shows another one")
