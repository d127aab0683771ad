"""Compressed JSON, which the ConfigMaps of revocations hold as `binaryData`."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from typing import Any


def compress(document: Any) -> str:
    """Return JSON as base64 of gzip; the same document gives the same text."""
    text = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    return base64.b64encode(gzip.compress(text, 6, mtime=0)).decode()


def decompress(text: Any, limit_bytes: int) -> Any:
    """Return the document. Raises ValueError for anything else, or for more than `limit_bytes`."""
    try:
        stream = zlib.decompressobj(wbits=31)  # gzip
        content = stream.decompress(base64.b64decode(text, validate=True), limit_bytes)
        if stream.eof:
            return json.loads(content)
    except (ValueError, TypeError, RecursionError, zlib.error):
        pass
    raise ValueError("no compressed JSON, or too much")
