"""What SQS computes of messages, as who receives them and as functions see it."""

from __future__ import annotations

import hashlib
import struct
from base64 import b64decode
from typing import Any


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def attributes_md5(attributes: dict[str, dict[str, Any]]) -> str:
    """SQS Developer Guide, "Calculating the MD5 message digest for message attributes"."""
    digest = hashlib.md5(usedforsecurity=False)
    for name, value in sorted(attributes.items()):
        kind = value.get("DataType", "String")
        binary = kind.startswith("Binary")
        content = b64decode(value["BinaryValue"]) if binary else str(value.get("StringValue", "")).encode()
        for part in (name.encode(), kind.encode()):
            digest.update(struct.pack(">I", len(part)) + part)
        digest.update((b"\x02" if binary else b"\x01") + struct.pack(">I", len(content)) + content)
    return digest.hexdigest()


def in_group(identifier: str, group: str, dedup: str, body: bytes) -> dict[str, str]:
    """The system attributes of a message of a FIFO queue. Ids grow with time, and so do sequence numbers, which are made of them."""
    return {
        "MessageGroupId": group,
        "SequenceNumber": sequence(identifier),
        "MessageDeduplicationId": dedup or hashlib.sha256(body).hexdigest(),  # of content-based deduplication
    }


def sequence(identifier: str) -> str:
    """20 digits, of the milliseconds in a message's id and the 12 bits that count within them (see model.ids)."""
    return f"{int(identifier[:12] + identifier[13:16], 16):020d}"
