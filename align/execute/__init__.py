"""Run programs that a model wrote on their tests: assemble (`program`), run many at once (`pool`).

Says what happened (`Execution`); judges no model. How it is isolated: `isolation`, and the README beside this file.
"""

from .execution import Execution
from .isolation import isolation_level, why
from .pool import Pool
from .profile import Profile
from .program import Program, extract_code, program_for

__all__ = ["Execution", "Pool", "Profile", "Program", "extract_code", "isolation_level", "program_for", "why"]
