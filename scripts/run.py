"""`accelerate launch scripts/run.py RECIPE …`: the same as `accelerate launch -m align run RECIPE …`."""

import sys

from align.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
