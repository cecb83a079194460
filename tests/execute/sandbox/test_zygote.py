"""A zygote is ready whenever its warden is: nothing of its own preparation reaches a candidate."""

import subprocess
import sys

from .conftest import PACKAGE

LATE = """
import os, sys, time
from sandbox import candidate, codec, jail, nursery, zygote
rehearsals = candidate.rehearsals

def late():
    time.sleep(0.3)
    return rehearsals()

candidate.rehearsals = late
jail.enter(jail.Place("none", work=os.getcwd()))
bearer = nursery.Nursery(zygote.start("none", os.open(os.devnull, os.O_RDONLY)))
source, call = candidate.source_file("", "def f(x): return x * 2"), codec.dumps(["f", (21,), {}])
born = bearer.start("batch", source, call, None, 1 << 30, 5.0)
bearer.end(born, running=False)
files = bearer.files
print([os.pread(file, 1000, 0).decode() for file in (files.answers, files.stderr)])
"""


def test_a_program_ordered_before_the_zygote_has_rehearsed_is_run_as_any_other(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-s", "-P", "-S", "-c", LATE],
        env={"PYTHONPATH": str(PACKAGE)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.stdout == repr(['["loaded"]\n["value",42]\n', ""]) + "\n", ran.stderr
