"""Compile options and cache policy of every kernel.

Numba's disk cache is keyed by the caller's own file, so an edited callee in another file would silently leave old machine
code in use. The cache therefore lives in a directory named by a digest of all kernel sources and the versions of Numba,
llvmlite and NumPy. ``fastmath`` stays off: ``inf`` means "never arrives", and unreassociated IEEE arithmetic gives the
same bits on every machine.
"""

import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import config

_KEPT_DIGESTS = 4
_DIGEST = re.compile("[0-9a-f]{20}")


def source_digest(folder: Path) -> str:
    """Hexadecimal digest of all Python sources under `folder` and of the compiler's version."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {np.__version__} {sys.version_info[:2]}".encode())
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:20]


def _base_directory() -> Path:
    if config.CACHE_DIR:
        return Path(config.CACHE_DIR)
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(home) if home else Path.home() / ".cache") / "prsm-kernels"


def _prune(base: Path, keep: Path) -> None:
    others = [p for p in base.iterdir() if p != keep and _DIGEST.fullmatch(p.name) and p.is_dir()]
    others.sort(key=lambda p: p.stat().st_mtime, reverse=True)
    for stale in others[_KEPT_DIGESTS - 1 :]:
        shutil.rmtree(stale, ignore_errors=True)


def _cache_directory() -> str:
    digest = source_digest(Path(__file__).parent)
    base = _base_directory()
    try:
        directory = base / digest
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
        _prune(base, directory)
    except (OSError, RuntimeError):  # a read-only home, or none: compile into a private directory of this user
        owner = os.getuid() if hasattr(os, "getuid") else "user"
        directory = Path(tempfile.gettempdir()) / f"prsm-kernels-{owner}" / digest
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            if hasattr(os, "getuid") and directory.parent.stat().st_uid != os.getuid():
                raise PermissionError(directory)
        except OSError:
            directory = Path(tempfile.mkdtemp(prefix="prsm-kernels-"))
    return str(directory)


CACHE_DIRECTORY = "" if config.DISABLE_JIT else _cache_directory()

# Called from other kernels only: half of their compile time would go into wrappers for Python and C. They make no arrays and so
# need no reference counts, which for groups of fifty arrays cost more than small pieces themselves.
_internal = {"error_model": "numpy", "nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}

inlined: Callable[[Callable[..., Any]], Callable[..., Any]] = numba.njit(forceinline=True, **_internal)
"""Decorator of the small pieces of which kernels are made; always inlined by LLVM. Not callable from Python."""

subkernel: Callable[[Callable[..., Any]], Callable[..., Any]] = numba.njit(**_internal)
"""Decorator of the larger pieces. Not callable from Python."""


def uncounted_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """`kernel` for code that makes no arrays, without reference counts."""
    return kernel(function, _nrt=False)


def kernel(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compile `function` as a serial kernel that releases the GIL and is cached on disk."""
    if config.DISABLE_JIT:
        return function
    dispatcher = numba.njit(nogil=True, error_model="numpy", **options)(function)
    users_directory = config.CACHE_DIR
    config.CACHE_DIR = CACHE_DIRECTORY
    try:
        dispatcher.enable_caching()
    finally:
        config.CACHE_DIR = users_directory
    return dispatcher
