"""The sockets on which a training run listens."""

import os
from pathlib import Path

import lightning

LOOPBACK = ("0100007F", "0" * 24 + "01000000", "0" * 16 + "FFFF00000100007F")  # 127.0.0.1, ::1, ::ffff:127.0.0.1


def listens_on(process: int) -> list[str]:
    """Return the addresses and ports on which a process listens, as in /proc/net/tcp and tcp6."""
    open_files = [os.readlink(link) for link in Path(f"/proc/{process}/fd").iterdir() if link.is_symlink()]
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in open_files]


class Listening(lightning.Callback):
    """Print, during training, where this process and its parent listen."""

    def on_train_batch_end(self, *_: object) -> None:
        for process in (os.getpid(), os.getppid()):
            print(f"process {process} listens on {' '.join(listens_on(process)) or 'nothing'}", flush=True)
