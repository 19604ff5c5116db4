"""The sockets that a training listens on."""

import os
from pathlib import Path

import lightning

LOOPBACK = ("0100007F", "0" * 24 + "01000000", "0" * 16 + "FFFF00000100007F")  # 127.0.0.1, ::1, ::ffff:127.0.0.1


def listens_on(process: int) -> list[str]:
    """Addresses and ports, as in /proc/net/tcp and tcp6, that a process of this machine accepts connections on."""
    open_files = [os.readlink(link) for link in Path(f"/proc/{process}/fd").iterdir() if link.is_symlink()]
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in open_files]


class Listening(lightning.Callback):
    """Prints what this process and the one that started it listen on, in the midst of training."""

    def on_train_batch_end(self, *_: object) -> None:
        for process in (os.getpid(), os.getppid()):
            print(f"process {process} listens on {' '.join(listens_on(process)) or 'nothing'}", flush=True)
