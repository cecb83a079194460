"""`python -m align`, the form that launchers start."""

import sys

from .cli import main

sys.exit(main())
