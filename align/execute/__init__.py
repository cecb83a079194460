"""Run programs that a model wrote on their tests: assemble (`program`), run many at once (`pool`).

Says what happened (`Execution`); judges no model. Only isolation level `none` is built: see `isolation`.
"""

from .execution import Execution
from .isolation import isolation_level, why
from .pool import Pool
from .program import Program, extract_code, program_for

__all__ = ["Execution", "Pool", "Program", "extract_code", "isolation_level", "program_for", "why"]
