"""Sending one message to a web server as JSON, with a token or a signature, encrypted unless it is this machine."""

import hashlib
import hmac
import re
import ssl
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from dicom_worklist.notify.connection import INVENTORY, NotSent, context, is_here, plain, read

if TYPE_CHECKING:
    from dicom_worklist.settings import Webhook


def send(hook: "Webhook", body: bytes, timeout: float) -> str:
    """Send it, and return which server took it; `timeout`, in seconds, is for each part of its answer.

    No error has the address in it, only the server's name: everybody who knows the address may write there.

    Raises:
        NotSent: the server did not take it.
    """
    url = read(hook.url_file, "the address of the webhook")
    host = _host(url)
    if not host:
        raise NotSent(
            f"{hook.url_file} holds no address of a webhook: write https://…, on one line and without a login, as the "
            f"recipient's webhook.url {INVENTORY}"
        )
    headers = {"Content-Type": "application/json", "User-Agent": "dicom-worklist"}
    if hook.token_file:
        token = read(hook.token_file, "the token of the webhook")
        if not re.fullmatch("[!-~]+", token):
            raise NotSent(
                f"{hook.token_file} holds no token: write it, on one line, as the recipient's webhook.token {INVENTORY}"
            )
        headers["Authorization"] = f"Bearer {token}"
    if hook.secret_file:
        key = read(hook.secret_file, "the secret of the webhook").encode()
        headers["X-Hub-Signature-256"] = f"sha256={hmac.new(key, body, hashlib.sha256).hexdigest()}"
    handlers: list[Any] = [ProxyHandler({"https": hook.proxy} if hook.proxy else {}), _NoRedirect]
    if url.startswith("https:"):
        handlers.append(HTTPSHandler(context=context(hook.ca_file)))
    try:
        request = Request(url, body, headers, method="POST")  # noqa: S310 - http or https, see _host
        with build_opener(*handlers).open(request, timeout=timeout):  # what it answers says nothing that is needed
            return host
    except HTTPError as error:
        with error:
            raise NotSent(f"the webhook's server {host} answers {error.code}: {_remedy(error.code)}") from error
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            said = (
                f"shows a certificate that is not trusted ({plain(reason.verify_message)}): write the certificate of "
                f"who signed it as the recipient's webhook.ca {INVENTORY}"
            )
        elif isinstance(reason, OSError):
            words = plain(reason.strerror or str(reason)) or type(reason).__name__
            said = (
                f"doesn't answer ({words}): see whether it is reached from this host; if that needs a proxy, write it "
                f"as the recipient's webhook.proxy {INVENTORY}"
            )
        else:
            said = f"can't be used ({type(reason).__name__})"
        raise NotSent(f"the webhook's server {host} {said}") from error


def _host(url: str) -> str:
    """Return the server of an address, for messages; "" if nothing may be sent there."""
    if not re.fullmatch(r"https?://[^\s/@?#]+(/[!-~]*)?(\?[!-~]*)?", url):
        return ""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if parts.scheme == "http" and not is_here(host):
        return ""
    return f"{plain(host)}:{port}" if port else plain(host)


def _remedy(code: int) -> str:
    if code in {401, 403}:
        return (
            f"compare webhook.token or webhook.secret of the recipient with the receiver's, and correct it {INVENTORY}"
        )
    if code in {404, 410}:
        return "the webhook is gone: make a new one in the chat program, write its address into the vault, run site.yml"
    if 300 <= code < 400:
        return f"it sends the message on to another address: write that one as the recipient's webhook.url {INVENTORY}"
    return "see its log"


class _NoRedirect(HTTPRedirectHandler):
    """The message is for this address and no other."""

    def redirect_request(self, *_: object) -> None:
        return None
