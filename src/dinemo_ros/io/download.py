# SPDX-License-Identifier: Apache-2.0
"""A file from an http(s) address, as far as it may be long and for as long as it may take.

Only http and https are spoken, whatever an address or a redirection asks for, and what begins encrypted stays so. Used
by commands that are told to fetch something, never by anything that runs on a robot.
"""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import IO, BinaryIO

from ..errors import DocumentError
from .bounded_file import size_in_words
from .quoting import shown

_CHUNK = 1 << 20  # bytes
_MOST_REDIRECTIONS = 5
SILENCE_S = 30.0


class _Redirections(urllib.request.HTTPRedirectHandler):
    """From https to https, and never anywhere else: not to a file, another protocol, or in the clear."""

    max_redirections = _MOST_REDIRECTIONS

    def redirect_request(self, request: urllib.request.Request, response: IO[bytes], code: int, message: str,
                         headers: http.client.HTTPMessage, address: str) -> urllib.request.Request | None:
        """The request to the new address; DocumentError where it is refused."""
        if not (request.full_url.startswith("https:") and address.startswith("https:")):
            raise DocumentError(f"is redirected to {shown(address, 200)}; redirections are only followed from https to "
                                "https: give the last address itself")
        return super().redirect_request(request, response, code, message, headers, address)


def is_address(text: str) -> bool:
    """Whether ``text`` is an address (``scheme://...``, ``file:...``) and not the name of a file."""
    scheme = text.partition(":")[0]
    return "://" in text or (":" in text and scheme.lower() in ("http", "https", "file", "ftp", "data"))


def download(address: str, file: BinaryIO, largest: int, longest_s: float, silence_s: float = SILENCE_S) -> str:
    """Write what is at ``address`` into ``file``; returns its sha256 in hexadecimal.

    Args:
        largest: bytes. longest_s: seconds for all of it. silence_s: seconds in which nothing at all comes.

    Raises:
        DocumentError: it cannot be had, is too large or cut off, or the address is of another kind; without the
            address.
    """
    _check(address)
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler(), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(),
                    urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor(), _Redirections()):
        opener.add_handler(handler)
    ends = time.monotonic() + longest_s
    try:
        with opener.open(address, timeout=min(silence_s, longest_s)) as response:
            return _copied(response, file, largest, ends, longest_s)
    except DocumentError:
        raise
    except urllib.error.HTTPError as error:
        raise DocumentError(f"cannot be fetched (the server answers {error.code} {shown(error.reason)})") from None
    except urllib.error.URLError as error:
        raise DocumentError(f"cannot be fetched ({shown(error.reason)})") from None
    except (http.client.HTTPException, ConnectionError, TimeoutError, ValueError) as error:
        raise _failed(error) from None


def _check(address: str) -> None:
    try:
        parts = urllib.parse.urlsplit(address)
        host = parts.hostname
    except ValueError as error:
        raise DocumentError(f"is no address ({shown(error)})") from None
    if parts.scheme not in ("http", "https"):
        raise DocumentError(f"has the scheme {shown(parts.scheme, 20)}; only http and https addresses are fetched, and "
                            "files and folders by their plain names")
    plain = address.isascii() and address.isprintable() and " " not in address
    if not host or parts.username is not None or not plain:
        raise DocumentError("is no address that is fetched: give a host, no user or password, and no blanks")


def _copied(response: http.client.HTTPResponse, file: BinaryIO, largest: int, ends: float, longest_s: float) -> str:
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > largest:
        raise DocumentError(f"is larger than {size_in_words(largest)}, which is the most that is fetched")
    digest, count = hashlib.sha256(), 0
    while chunk := _read(response):
        count += len(chunk)
        if count > largest:
            raise DocumentError(f"is larger than {size_in_words(largest)}, which is the most that is fetched")
        if time.monotonic() > ends:
            raise DocumentError(f"was not complete after {longest_s:g} s, {size_in_words(count)} had come")
        digest.update(chunk)
        file.write(chunk)
    if announced.isdecimal() and count != int(announced):
        raise DocumentError(f"was cut off after {count} of {announced} bytes; try again")
    return digest.hexdigest()


def _read(response: http.client.HTTPResponse) -> bytes:
    """Whatever has come, so that the clock is looked at in between; what goes wrong here is no fault of the disk."""
    try:
        return response.read1(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _failed(error) from None


def _failed(error: Exception) -> DocumentError:
    return DocumentError(f"cannot be fetched ({shown(error) or type(error).__name__}); try again")
