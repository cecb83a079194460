"""The in-depth heuristics of Evol-Instruct for code (WizardCoder, arXiv 2306.08568), in words of our own.

How a heuristic is put to a model is `generate/templates/evolve.jinja`. In-breadth evolution is left out, as in
PanGu-Coder2.
"""

from typing import Literal

OperatorName = Literal["add_constraint", "rarer_requirement", "more_steps", "misleading_code", "higher_complexity"]

OPERATORS: dict[OperatorName, str] = {
    "add_constraint": (
        "Put one further condition on the inputs or on the result, in about ten words, that a correct program must "
        "handle separately."
    ),
    "rarer_requirement": (
        "Exchange one ordinary demand of the problem for a less usual and more specific one of the same size."
    ),
    "more_steps": (
        "If the problem can be answered in very few logical steps, let it need one more step between input and result."
    ),
    "misleading_code": (
        "Add a short piece of plausible but faulty code for the problem and say that it is faulty, so that the reader "
        "must not be misled by it."
    ),
    "higher_complexity": (
        "Ask for lower time or memory use than the obvious solution has, or for inputs on which it becomes too slow."
    ),
}
"""Operator → the method that the model is told to follow."""
