"""nftables, by way of its own library: libnftables(3). One context for one network namespace, one transaction a call."""

from __future__ import annotations

import ctypes
from typing import Any

LIBRARY = "libnftables.so.1"


class RulesRefused(OSError):
    """The kernel, or nftables itself, does not take these rules."""


def load() -> Any:
    """The library. Raises OSError where it is not installed."""
    library = ctypes.CDLL(LIBRARY)
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = (ctypes.c_uint32,)
    library.nft_ctx_free.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_buffer_error.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_buffer_output.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_get_error_buffer.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    library.nft_ctx_get_output_buffer.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    library.nft_run_cmd_from_buffer.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
    return library


class Nft:
    """Rules of the network namespace that the calling thread is in now. Raises OSError where there are none to have."""

    def __init__(self) -> None:
        self._library = load()
        self._context = self._library.nft_ctx_new(0)
        if not self._context:
            raise OSError("nftables gives no context")
        self._library.nft_ctx_buffer_error(self._context)
        self._library.nft_ctx_buffer_output(self._context)

    def run(self, commands: str) -> str:
        """All of them, or none: then RulesRefused says why. Returns what is listed."""
        if self._library.nft_run_cmd_from_buffer(self._context, commands.encode()) != 0:
            said = self._library.nft_ctx_get_error_buffer(self._context).decode("utf-8", "replace").strip()
            raise RulesRefused(said or "nftables refuses and does not say why")
        listed: bytes = self._library.nft_ctx_get_output_buffer(self._context)
        return listed.decode()

    def close(self) -> None:
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None
