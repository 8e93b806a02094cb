"""PyTorch's `hub` namespace: weights from the network, kept on disk. Code from the network is not run."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import Request, urlopen

from lazygrad import config
from lazygrad.errors import ArgumentError
from lazygrad.inert.kinds import refused

_NO_CODE = (
    "lazygrad runs no code from the network: fetch the repository, and import it under lazygrad.as_torch()"
)
load = refused("hub.load", _NO_CODE)
list = refused("hub.list", _NO_CODE)
help = refused("hub.help", _NO_CODE)



class _Uncounted:
    """What stands for a progress bar where the package tqdm is missing: it tells nothing."""

    def __init__(self, iterable: Any = (), *args: Any, **options: Any):
        self.iterable = iterable

    def __iter__(self) -> Any:
        return iter(self.iterable)

    def __enter__(self) -> _Uncounted:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, n: float = 1) -> None:
        """Tells nothing."""

    def close(self) -> None:
        """Tells nothing."""


try:
    tqdm: Any = importlib.import_module("tqdm.auto").tqdm  # other packages take it from here
except ImportError:
    tqdm = _Uncounted
HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")
_chosen: dict[str, str] = {}


def _get_torch_home() -> str:
    return str(config.torch_home())


def get_dir() -> str:
    """The folder in which downloads are kept."""
    return _chosen.get("dir", os.path.join(_get_torch_home(), "hub"))


def set_dir(d: str | os.PathLike[str]) -> None:
    """Keep downloads in another folder."""
    _chosen["dir"] = os.path.expanduser(d)


def download_url_to_file(url: str, dst: str, hash_prefix: str | None = None, progress: bool = True) -> None:
    """Write what is at url to a file, whole or not at all. Raises ArgumentError where its SHA-256 does not
    begin with hash_prefix."""
    target = Path(dst).expanduser()
    digest = hashlib.sha256()
    with (
        urlopen(Request(url, headers={"User-Agent": "lazygrad"})) as source,
        tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as part,
    ):
        try:
            while block := source.read(1 << 17):
                part.write(block)
                digest.update(block)
            part.close()
            if hash_prefix and not digest.hexdigest().startswith(hash_prefix):
                raise ArgumentError(
                    f'[hub] invalid hash value (expected "{hash_prefix}", got "{digest.hexdigest()}")'
                )
            shutil.move(part.name, target)
        finally:
            part.close()
            Path(part.name).unlink(missing_ok=True)


_download_url_to_file = download_url_to_file


def load_state_dict_from_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = True,
) -> Any:
    """The state dict in a file at url, which is fetched once and then read from disk. A zip file may hold one
    such file. `check_hash` compares with the digits in the file's name."""
    import lazygrad

    folder = Path(model_dir or os.path.join(get_dir(), "checkpoints"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (file_name or os.path.basename(urlparse(url).path))
    if not path.exists():
        print(f'Downloading: "{url}" to {path}', file=sys.stderr)
        found = HASH_REGEX.search(path.name) if check_hash else None
        download_url_to_file(url, str(path), found[1] if found else None, progress)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) == 1 and not names[0].endswith("/"):  # an old way to publish one file
                inner = folder / os.path.basename(names[0])
                if not inner.exists():
                    inner.write_bytes(archive.read(names[0]))
                path = inner
    return lazygrad.load(path, map_location=map_location, weights_only=weights_only)
