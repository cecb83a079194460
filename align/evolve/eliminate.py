"""Tell evolutions that failed, and why: Evol-Instruct's elimination rules, and those that code needs beside them.

WizardLM (arXiv 2304.12244) and WizardCoder (arXiv 2306.08568) drop what refuses, says nothing, or copies the prompt.
Added here: text that is cut off, too long, the parent's again or a known one in other words, in another language,
the answer in place of the problem, or no task for one function. WizardLM's first rule, no gain over the parent, takes
a model: `compare`. Rules read; they run nothing.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from ..generate.request import Reply
from ..text.similarity import Ngram, ngrams, normalise, words
from .known import Known, same_form
from .language import changed_language
from .tasks import other_task, solution
from .wording import language_of, length

Task = Literal["function", "any"]

REFUSAL_WORDS = 80
"""A refusal is shorter than this."""
SLACK = 50
"""Words that a problem may grow by, however short it was."""
LEAK = 7
"""So many words in a row that the instructions say too are copied from them."""
BEGINNING = 2000
"""Characters within which a refusal is told."""
LEAST_SENTENCE = 12
"""Characters from which a sentence of the instructions is told."""
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_START = r"(?:\A\W*|[.!?\n]\s{0,3})(?:(?:but|however|unfortunately)\W{1,3})?"
_REFUSAL = re.compile(
    rf"{_START}(?:(?:i(?: a|')m|we(?: a|')re)\s+)?(?:(?:very|so|really)\s+)?(?:sorry\b|my apologies|i apologi[sz]e)"
    r"|\bi(?:'m| am)\s+(?:\w+\s+)?(?:sorry|(?:unable|not able) to)"
    rf"|{_START}(?:i|we) (?:can ?not|can't|can’t|won't|am not able to)\b"
    r"|\bas an? (?:ai|artificial intelligence|(?:large )?language model)\b"
    r"|申し訳|ごめんなさい|(?:お答え|対応|作成|生成|提供|お手伝い)(?:することは)?(?:でき|いたしかね)(?:ません|ない)|AI(?:言語)?モデルとして"
    r"|对不起|對不起|抱歉|很遗憾|我(?:无法|不能|無法)|作为(?:一个|一名)?(?:AI|人工智能|语言模型)"
    r"|죄송(?:합니다|하지만)|할 수 없습니다"
    r"|\btut mir leid\b|\bich kann (?:das|diese?\w*|ihnen|dir|leider)\b.{0,60}?\bnicht\b|\bals (?:ki|sprachmodell)\b"
    r"|\bje suis désolée?\b|\bdésolée?\b|\bje ne (?:peux|puis) pas\b|\ben tant qu['’](?:ia|intelligence|modèle)"
    r"|\blo siento\b|\bno puedo (?:ayudar|crear|generar|responder|hacer|cumplir|proporcionar|reescribir)"
    r"|\bcomo (?:una? )?(?:ia|modelo de lenguaje)\b|\bmi dispiace\b|\bnon posso (?:aiutar|crear|generar|rispondere)"
    r"|\bdesculpe\b|\bsinto muito\b|\bnão posso (?:ajudar|criar|gerar)"
    r"|\bhet spijt me\b|извините|к сожалению, я|я не могу|простите",
    re.IGNORECASE,
)
_PROMPT_WORDING = (
    "given problem",
    "given prompt",
    "new problem:",
    "the new problem is",
    "rewritten problem",
    "rewritten prompt",
    "rewritten question",
    "evolved problem",
    "evolved prompt",
    "evolved question",
    "more demanding one",
    "increased difficulty",
    "design problems for a programming contest",
    "与えられたプロンプト",
    "書き直されたプロンプト",
    "新しい問題:",
    "新しい問題：",
    "给定的提示",
    "改写后的",
    "新问题：",
)
_STOP_WORDS = frozenset(
    words(
        "a an and are as at be by for from in is it its of on or so that the then this to was with you your "
        "yes no ok okay sure certainly done understood i will do n a none null "
        "はい いいえ わかりました 分かりました 了解しました 承知しました 承知いたしました 以上です "
        "好的 是 不 明白了 네 ja nein oui non sí si da нет да"
    )
)


@dataclass(frozen=True)
class Rules:
    """What an evolution may not break; those without a value here always hold."""

    max_words: int | None = None
    """Longest new problem."""
    max_growth: float | None = 3.0
    """Longest new problem, times its parent's words; 50 words may be added to any."""
    near_duplicate: float | None = 1.0
    """ROUGE-L, of content words, from which a problem that has all those of a known one, and no other, is the same."""
    task: Task = "function"
    """`function`: what one function solves; `any`: anything."""


@dataclass(frozen=True)
class Fault:
    """Why an evolution failed."""

    reason: str
    detail: str | None = None


@dataclass(frozen=True)
class Case:
    """An answer and what it is held against."""

    text: str
    """The new problem."""
    parent: str
    """The problem it was made from."""
    instructions: str
    """What the model was told, without the problem."""
    operator: str | None = None
    language: str = "python"
    """Programming language of the problem."""


def find_fault(reply: Reply, case: Case, known: Known, rules: Rules = Rules()) -> Fault | None:
    """The first rule that an evolution breaks; None where it breaks none.

    Args:
        reply: the model's answer; how it ended is judged first.
        case: its text, and what that is held against.
        known: the problems that exist.
        rules: the limits.
    """
    return ended_badly(reply) or next((fault for rule in _RULES if (fault := rule(case, known, rules))), None)


def ended_badly(reply: Reply) -> Fault | None:
    """An answer that is none: cut off, missing, a refusal, or without content. Of any purpose."""
    text = reply.text.strip()
    if reply.finish != "stop":
        return Fault("cut_off") if reply.finish == "length" else Fault("no_answer", reply.error)
    if not _is_text(text):
        return Fault("not_text", "holds a NUL or half a character")
    if length(text) < REFUSAL_WORDS and (refusal := _REFUSAL.search(text[:BEGINNING])):
        return Fault("refusal", refusal[0].strip())
    if not set(words(text)) - _STOP_WORDS:
        return Fault("empty", text[:80])
    return None


def _is_text(text: str) -> bool:
    return _NO_TEXT.search(text) is None


def _copied(case: Case, known: Known, rules: Rules) -> Fault | None:
    """Wording of the prompt that came back in the answer and was not in the problem before."""
    lowered, before = case.text.casefold(), case.parent.casefold()
    phrases = (*_PROMPT_WORDING, *_sentences(case.instructions))
    for phrase in phrases:
        if phrase in lowered and phrase not in before:
            return Fault("copies_prompt", phrase)
    told = _grams(case.instructions)
    for gram in ngrams(words(case.text), LEAK):
        if gram in told and " ".join(gram) not in normalise(case.parent):
            return Fault("copies_prompt", " ".join(gram))
    return None


@lru_cache(maxsize=64)
def _sentences(instructions: str) -> tuple[str, ...]:
    found = (part.strip() for part in re.split(r"[.。!?！？:：\n]", instructions.casefold()))
    return tuple(part for part in found if len(part) >= LEAST_SENTENCE and (" " in part or not part.isascii()))


@lru_cache(maxsize=64)
def _grams(instructions: str) -> frozenset[Ngram]:
    return frozenset(gram for gram in ngrams(words(instructions), LEAK) if len(gram) == LEAK)


def _too_long(case: Case, known: Known, rules: Rules) -> Fault | None:
    long, before = length(case.text), length(case.parent)
    if rules.max_words is not None and long > rules.max_words:
        return Fault("too_long", f"{long} words, at most {rules.max_words}")
    if rules.max_growth is not None and long > (most := max(int(rules.max_growth * before), before + SLACK)):
        return Fault("too_long", f"{long} words of {before}, at most {most}")
    return None


def _answers(case: Case, known: Known, rules: Rules) -> Fault | None:
    # to show faulty code is what that heuristic asks for
    found = None if case.operator == "misleading_code" else solution(case.text, case.parent)
    return Fault("solution", found) if found else None


def _other_language(case: Case, known: Known, rules: Rules) -> Fault | None:
    if found := changed_language(case.text, case.parent, case.language):
        return Fault("changes_language", found)
    now, before = language_of(case.text), language_of(case.parent)
    return Fault("changes_language", f"{before} → {now}") if now and before and now != before else None


def _other_task(case: Case, known: Known, rules: Rules) -> Fault | None:
    found = other_task(case.text) if rules.task == "function" else None
    return Fault("not_a_function", found) if found else None


def _same(case: Case, known: Known, rules: Rules) -> Fault | None:
    if same_form(case.text) == same_form(case.parent):
        return Fault("unchanged", case.parent[:80])
    if known.has(case.text):
        return Fault("duplicate", case.text[:80])
    near = None if rules.near_duplicate is None else known.near(case.text, rules.near_duplicate)
    return Fault("near_duplicate", f"ROUGE-L {near.rouge_l:.2f} to {near.text[:80]!r}") if near else None


_RULES: tuple[Callable[[Case, Known, Rules], Fault | None], ...] = (
    _too_long,
    _copied,
    _same,
    _answers,
    _other_language,
    _other_task,
)
