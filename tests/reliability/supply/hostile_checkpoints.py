"""Checkpoints that hold code: nothing may run it."""

import io
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from pickle import UnpicklingError
from pkgutil import resolve_name
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any
from unittest.mock import patch

import torch

from tests.forked import CONTEXT
from tests.reliability.interrupted_training.forked import EXAMPLES, run, together

READERS = ("common.checkpoints:WholeCheckpoints", "pytorch_lightning.plugins:TorchCheckpointIO")
"""Ours and Lightning's, for a process of their own."""


class Code:
    """Makes a folder when it is unpickled.

    Args:
        mark: the folder.
    """

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def trap(folder: Path) -> tuple[Path, Path]:
    """A checkpoint that holds code, and what is there once that has run."""
    folder.mkdir(parents=True)
    mark, path = folder / "ran", folder / "trap.ckpt"
    torch.save({"epoch": 0, "state_dict": Code(mark)}, path)
    return path, mark


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with patch.dict(os.environ, {"no_proxy": "127.0.0.1"}):
            yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def silent() -> Iterator[None]:
    """Without the lines and bars of a download."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield


def refused_by(reader: str, root: Path) -> dict[str, bool]:
    """Whether it loads files and addresses, whatever it is asked for, without running the code."""
    outcomes = {}
    for place in ("a file", "an address"):
        for asked in (None, True, False):
            path, mark = trap(root / f"{place}, {asked}")
            torch.hub.set_dir(root / "hub" / place / str(asked))
            with served(path.parent) as address:
                source = str(path) if place == "a file" else f"{address}/{path.name}"
                with suppress(UnpicklingError), silent():
                    resolve_name(reader)().load_checkpoint(source, weights_only=asked)
            outcomes[f"{place}, weights_only={asked}"] = not mark.exists()
    return outcomes


def refused_by_command(example: str, option: str, root: Path) -> bool:
    """Whether a command of an example ends with an error, and without running the code."""
    path, mark = trap(root / example / option)
    command, argument = option.split()
    code = run(example, path.parent, command, f"{argument}={path}")
    named = "weights_only" in (path.parent / "log.txt").read_text()
    return code != 0 and named and not mark.exists()


def outcomes(*, full: bool) -> tuple[dict[str, bool], str]:
    """What readers and commands come to, and what Lightning's own reader does."""
    options = tuple(f"{command} --ckpt_path" for command in ("fit", "test", "predict"))
    commands = [("fine_grained", "fit --model.init_from")]
    commands += [*product(EXAMPLES, options)] if full else [("vit", options[0])]
    with TemporaryDirectory() as folder, ProcessPoolExecutor(2, CONTEXT) as pool:
        root = Path(folder)
        ours, stock = pool.map(refused_by, READERS, (root / "ours", root / "stock"))
        work = {", ".join(one): partial(refused_by_command, *one, root) for one in commands}
        ours |= together(work)
    return ours, f"Lightning's reader: {sum(stock.values())} of {len(stock)}"
