"""System calls that no function may make, with their numbers on x86_64 and aarch64, for attacks that really make them."""

from __future__ import annotations

import os

DENIED = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    "kcmp": (312, 272), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "kexec_load": (246, 104), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "swapon": (167, 224),
    "reboot": (169, 142), "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "acct": (163, 89),
    "quotactl": (179, 60), "syslog": (103, 116), "sethostname": (170, 161), "syncfs": (306, 267), "sync": (162, 81),
    "move_pages": (279, 239), "mbind": (237, 235), "memfd_secret": (447, 447), "vmsplice": (278, 75), "io_setup": (206, 0),
    "fanotify_init": (300, 262), "listmount": (458, 458), "not yet invented": (999, 999), "cachestat": (451, 451),
    "process_madvise": (440, 440), "modify_ldt": (154, 999), "iopl": (172, 999), "vhangup": (153, 58), "set_mempolicy": (238, 237),
    "migrate_pages": (256, 238), "clock_adjtime": (305, 266), "setdomainname": (171, 162), "fspick": (433, 433), "statmount": (457, 457),
}  # fmt: skip

_OTHERS = {"clone": (56, 220)}


def here(*names: str) -> list[int]:
    """The numbers on this machine."""
    column = {"x86_64": 0, "aarch64": 1}[os.uname().machine]
    return [{**DENIED, **_OTHERS}[name][column] for name in names]
