"""Groups and pairs in the forms of other projects. `pairs.jsonl` has trl's columns already; reading is `align.forms`.

Each function gives rows of plain data: a line of JSON each.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from ..schema import PreferencePair, Problem, RankedGroup
from .unit_tests import index_problems

Export = Literal["rrhf", "ultrafeedback", "trl_chat"]
FILES: dict[Export, str] = {
    "rrhf": "groups-rrhf.jsonl",
    "ultrafeedback": "groups-ultrafeedback.jsonl",
    "trl_chat": "pairs-chat.jsonl",
}
"""Form → the file that a rank stage writes it to."""
Row = dict[str, Any]


def rrhf_rows(groups: Iterable[RankedGroup]) -> Iterator[Row]:
    """RRHF's training rows: `{query, responses, scores}`, final text."""
    for group in groups:
        yield {"query": group.prompt, "responses": group.responses, "scores": group.scores}


def ultrafeedback_rows(groups: Iterable[RankedGroup], problems: Iterable[Problem] = ()) -> Iterator[Row]:
    """UltraFeedback's rows: `{source, instruction, models, completions: [{model, response, overall_score}]}`.

    There are no annotations: the scores are of execution, and of the rankers.

    Args:
        groups: the groups.
        problems: where a row's `source` is taken from; empty by default.
    """
    index = index_problems(problems)
    for group in groups:
        columns = zip(group.models, group.responses, group.scores, strict=True)
        problem = index.get(group.problem_id)
        yield {
            "source": problem.source if problem else "",
            "instruction": group.prompt,
            "models": list(dict.fromkeys(group.models)),
            "completions": [
                {"model": model, "response": response, "overall_score": score} for model, response, score in columns
            ],
        }


def trl_chat_rows(pairs: Iterable[PreferencePair], problems: Iterable[Problem] = ()) -> Iterator[Row]:
    """trl's conversational form of pairs: prompt, chosen and rejected are lists of messages.

    Args:
        pairs: the pairs.
        problems: a row's prompt is its problem's own text or turns; without it, the pair's final text in one turn.
    """
    prompts: Mapping[str, Problem] = index_problems(problems)
    for pair in pairs:
        problem = prompts.get(pair.problem_id)
        prompt = problem.prompt if problem else pair.prompt
        turns = [_turn("user", prompt)] if isinstance(prompt, str) else [one.model_dump() for one in prompt]
        yield {
            "prompt": turns,
            "chosen": [_turn("assistant", pair.chosen)],
            "rejected": [_turn("assistant", pair.rejected)],
            "score_chosen": pair.score_chosen,
            "score_rejected": pair.score_rejected,
        }


def export_rows(
    name: Export, problems: Iterable[Problem], groups: Iterable[RankedGroup], pairs: Iterable[PreferencePair]
) -> Iterator[Row]:
    """The rows of one form."""
    if name == "rrhf":
        return rrhf_rows(groups)
    return ultrafeedback_rows(groups, problems) if name == "ultrafeedback" else trl_chat_rows(pairs, problems)


def _turn(role: str, content: str) -> Row:
    return {"role": role, "content": content}
