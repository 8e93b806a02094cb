"""PyTorch's `utils.tensorboard`: `SummaryWriter`, which writes scalars and texts as TensorBoard reads them.

A file of events is a sequence of records, each with its length and two check sums (CRC-32C, masked), around
messages in the format of Protocol Buffers. Both are small enough to write here.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lazygrad.inert.kinds import refused

_INSTEAD = "lazygrad writes scalars and texts for TensorBoard: save figures and arrays as files of their own"


def _crc_table() -> list[int]:
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


_CRC = _crc_table()


def masked_crc(data: bytes) -> int:
    """The check sum of a record."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _number(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _number(number << 3) + _number(value)
    return _number(number << 3 | 2) + _number(len(value)) + value


def _event(step: int | None, when: float | None, *parts: bytes) -> bytes:
    data = _number(1 << 3 | 1) + struct.pack("<d", time.time() if when is None else when)
    return data + (b"" if step is None else _field(2, int(step))) + b"".join(parts)


def _scalar(tag: str, value: float) -> bytes:
    return _field(1, _field(1, tag.encode()) + _number(2 << 3 | 5) + struct.pack("<f", value))


def _text(tag: str, text: str) -> bytes:
    plugin = _field(9, _field(1, _field(1, b"text")))
    tensor = _field(8, _field(1, 7) + _field(2, _field(2, _field(1, 1))) + _field(8, text.encode()))
    return _field(1, _field(1, f"{tag}/text_summary".encode()) + plugin + tensor)


class SummaryWriter:
    """Writes events to a file in `log_dir` (runs/<time>_<host> unless given). Also a context manager. All
    events go into the one file in their order, so that `purge_step` and `max_queue` have nothing to do."""

    def __init__(
        self,
        log_dir: Any = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
    ):
        name = f"{time.strftime('%b%d_%H-%M-%S')}_{socket.gethostname()}{comment}"
        self.log_dir = str(log_dir) if log_dir else os.path.join("runs", name)
        Path(self.log_dir).mkdir(parents=True, exist_ok=True)
        stamp = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        file = f"events.out.tfevents.{stamp}{filename_suffix}"
        self._file = (Path(self.log_dir) / file).open("ab")
        self._flush_seconds, self._flushed = flush_secs, time.monotonic()
        self._write(_event(None, None, _field(3, b"brain.Event:2")))

    def _write(self, data: bytes) -> None:
        length = struct.pack("<Q", len(data))
        self._file.write(
            length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))
        )
        if time.monotonic() - self._flushed > self._flush_seconds:
            self.flush()

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """A number at a step."""
        self._write(_event(global_step, walltime, _field(5, _scalar(tag, float(scalar_value)))))

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: Mapping[str, Any],
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Numbers at a step, each under "main_tag/tag"."""
        for tag, value in tag_scalar_dict.items():
            self.add_scalar(f"{main_tag}/{tag}", value, global_step, walltime)

    def add_text(
        self, tag: str, text_string: str, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        """A text at a step."""
        self._write(_event(global_step, walltime, _field(5, _text(tag, text_string))))

    def add_hparams(
        self, hparam_dict: Mapping[str, Any], metric_dict: Mapping[str, Any], *args: Any, **options: Any
    ) -> None:
        """Settings as a text, and what came of them as numbers."""
        self.add_text("hparams", "\n".join(f"{k}: {v}" for k, v in hparam_dict.items()))
        for tag, value in metric_dict.items():
            self.add_scalar(tag, value)

    for _name in (
        "histogram",
        "image",
        "images",
        "figure",
        "video",
        "audio",
        "graph",
        "embedding",
        "pr_curve",
        "mesh",
    ):
        locals()[f"add_{_name}"] = staticmethod(refused(f"SummaryWriter.add_{_name}", _INSTEAD))
    del _name

    def get_logdir(self) -> str:
        """The folder."""
        return self.log_dir

    def flush(self) -> None:
        """Put everything on disk."""
        self._file.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Put everything on disk, and end."""
        self._file.close()

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
