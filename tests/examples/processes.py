"""An example in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CPU = "--trainer.accelerator=cpu"


def in_a_shell(example: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script of an example on one thread, with this folder on the path."""
    own = [str(ROOT), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = {
        "PYTHONPATH": os.pathsep.join(own),
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
    }
    return subprocess.run(
        [sys.executable, ROOT / "examples" / example / "main.py", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
