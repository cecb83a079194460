"""Generated text against references: exact match, last number, ROUGE-L, BLEU, chrF, length, script. Generates nothing.

BLEU and chrF are sacrebleu's, of the whole set of a language; the rest is counted row by row. Percent, 95 % intervals.
"""

import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal, get_args

import numpy as np
from pydantic import Field

from ..errors import BackendError, ConfigError, DataError, suggest
from ..schema import Record
from ..text.similarity import normalise, words
from .languages import UNSPACED, base_code, in_script
from .passk import Interval, mean_interval

Metric = Literal["exact_match", "exact", "number", "rouge_l", "bleu", "chrf", "length", "script"]
RowMetric = Literal["exact_match", "exact", "number", "rouge_l", "chrf"]
"""What one row has, too."""

BOOTSTRAPS = 1000
"""Resamples of sacrebleu."""
POINT_GROUPS = ("da", "de", "es", "id", "it", "nl", "pt", "tr", "vi")
"""Languages that write a point between thousands, and a comma before decimals."""
_NUMBER = re.compile(r"(?:(?<![\da-zA-Z)])[-−])?\d+(?:[.,٬٫]\d+|['’\u00a0\u202f\u2009]\d{3}(?!\d))*")
_THOUSANDS = re.compile(r"-?\d{1,3}([.,])\d{3}(?:\1\d{3})*")


class Generation(Record):
    """What a model wrote for one input."""

    id: str
    """Of the example."""
    task: str
    """Name of the task, such as `mgsm`."""
    language: str
    """That the output should be in."""
    output: str
    """What the model wrote."""
    references: list[str] = Field(min_length=1)
    """Right answers; any of them counts."""


def generation_metrics(rows: Sequence[Generation], names: Sequence[Metric]) -> dict[str, Any]:
    """`{task: {language: {rows, empty, metric: …}}}`.

    `exact_match`, `exact`, `number`, `rouge_l`, `bleu`, `chrf`: {value, low, high}, `bleu` and `chrf` with sacrebleu's
    `signature`. `exact_match` is `number` where the references are numbers, as MGSM has it, and else `exact`.
    `length`: {mean, median} characters of outputs and `reference`, the mean of references. `script`: the share of
    outputs in another script than their language's, {wrong, low, high, judged}; without letters none is judged.

    Raises:
        ConfigError: an unknown metric, or for `script` an unknown language.
        DataError: no rows.
        BackendError: sacrebleu is needed and not installed.
    """
    for name in names:
        if name not in get_args(Metric):
            raise ConfigError(f"{name}: no metric of generated text: {suggest(name, get_args(Metric))}")
    if not rows:
        raise DataError("no rows: there is nothing to measure")
    groups: dict[tuple[str, str], list[Generation]] = defaultdict(list)
    for row in rows:
        groups[row.task, row.language].append(row)
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for (task, language), group in sorted(groups.items()):
        table: dict[str, Any] = {"rows": len(group), "empty": sum(not row.output.strip() for row in group)}
        for name in names:
            table[name] = _measure(name, group, language)
        found[task][language] = table
    return dict(found)


def is_exact(output: str, references: Sequence[str]) -> bool:
    """Whether an output is one of the references, but for case, punctuation, layout and Unicode form."""
    return normalise(output) in {normalise(reference) for reference in references}


def last_number(text: str, language: str = "en") -> Decimal | None:
    """The last number of a text, in any script's digits; None where there is none. MGSM's answers are compared so.

    Commas part thousands and a point begins decimals, the other way round in `POINT_GROUPS` where the text leaves it
    open: `1.234` is about one in English and over a thousand in German. A plain space parts two numbers.
    """
    found = _NUMBER.findall(text)
    return _decimal(found[-1], language) if found else None


def is_number(output: str, references: Sequence[str], language: str = "en") -> bool:
    """Whether the last number of an output is that of a reference; references are written as in English."""
    value = last_number(output, language)
    return value is not None and any(value == last_number(reference) for reference in references)


def rouge_l(output: str, reference: str, language: str = "en") -> float:
    """ROUGE-L F1 in [0, 1] over words, or letters in languages without spaces (Lin 2004); 0 where either is empty.

    Words of every script count: the package `rouge-score` drops all but a-z and 0-9.
    """
    one, other = _units(output, language), _units(reference, language)
    common = lcs_length(one, other)
    return 2 * common / (len(one) + len(other)) if common else 0.0


def lcs_length(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence, with a bit for each place of the first (Hyyrö 2004)."""
    places: dict[str, int] = defaultdict(int)
    for place, unit in enumerate(one):
        places[unit] |= 1 << place
    full = (1 << len(one)) - 1
    row = full
    for unit in other:
        match = row & places.get(unit, 0)
        row = ((row + match) | (row - match)) & full
    return len(one) - row.bit_count()


def _measure(name: Metric, rows: Sequence[Generation], language: str) -> dict[str, Any]:
    if name == "length":
        lengths = [len(row.output) for row in rows]
        reference = statistics.fmean(len(text) for row in rows for text in row.references)
        return {
            "mean": round(statistics.fmean(lengths), 1),
            "median": statistics.median(lengths),
            "reference": round(reference, 1),
        }
    if name == "script":
        return _script(rows, language)
    if name == "bleu" or name == "chrf":
        return _sacrebleu(name, rows, language)
    return _percent("value", mean_interval([row_metric(name, row) for row in rows]))


def row_metric(name: RowMetric, row: Generation) -> float:
    """A metric of one row, in [0, 1]; `chrf` is the sentence's, of which a set's is no mean.

    Raises:
        BackendError: sacrebleu is needed and not installed.
    """
    if name == "chrf":
        chrf = _sacrebleu_metrics(name)[1]()
        return float(chrf.sentence_score(row.output, row.references).score) / 100
    if name == "exact_match":
        numbers = all(_NUMBER.fullmatch(reference.strip()) for reference in row.references)
        name = "number" if numbers else "exact"
    if name == "exact":
        return float(is_exact(row.output, row.references))
    if name == "number":
        return float(is_number(row.output, row.references, row.language))
    return max(rouge_l(row.output, reference, row.language) for reference in row.references)


def _script(rows: Sequence[Generation], language: str) -> dict[str, Any]:
    judged = [verdict for row in rows if (verdict := in_script(row.output, language)) is not None]
    if not judged:
        return {"wrong": None, "low": None, "high": None, "judged": 0}
    return _percent("wrong", mean_interval([float(not verdict) for verdict in judged])) | {"judged": len(judged)}


def _sacrebleu(name: Literal["bleu", "chrf"], rows: Sequence[Generation], language: str) -> dict[str, Any]:
    bleu, chrf = _sacrebleu_metrics(name)
    # zh has words of single characters; the tokenizers of ja and th are not installed with sacrebleu
    tokenize = {"zh": "zh", "ja": "char", "th": "char", "my": "char"}.get(base_code(language), "13a")
    metric = bleu(tokenize=tokenize) if name == "bleu" else chrf()
    compute = metric._compute_score_from_stats
    # resamples without a match score a float among numpy's, whose mean it cannot take
    metric._compute_score_from_stats = lambda stats: compute(np.asarray(stats).tolist())
    most = max(len(row.references) for row in rows)
    # it takes None for a reference that a row lacks, though its types do not say so
    references: Any = [
        [row.references[place] if place < len(row.references) else None for row in rows] for place in range(most)
    ]
    outputs = [row.output for row in rows]
    if len(rows) == 1:
        # a single row has no interval
        value = metric.corpus_score(outputs, references).score
        low = high = value
    else:
        score = metric.corpus_score(outputs, references, n_bootstrap=BOOTSTRAPS)
        value, low, high = score.score, score._mean - score._ci, score._mean + score._ci
    return {
        "value": round(value, 3),
        "low": round(low, 3),
        "high": round(high, 3),
        "signature": str(metric.get_signature()),
    }


def _sacrebleu_metrics(name: str) -> tuple[Any, Any]:
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        raise BackendError(f"{name}: sacrebleu is not here ({error}): pip install sacrebleu") from None
    return BLEU, CHRF


def _units(text: str, language: str) -> list[str]:
    found = words(text)
    return list("".join(found)) if base_code(language) in UNSPACED else found


def _decimal(text: str, language: str) -> Decimal:
    """A number as it was matched: what parts thousands goes, what begins decimals becomes a point."""
    number = re.sub(r"['’٬\u00a0\u202f\u2009]", "", text.replace("−", "-")).replace("٫", ".")
    marks = re.findall(r"[.,]", number)
    own = "." if base_code(language) in POINT_GROUPS else ","
    if len(set(marks)) == 2 and marks.count(marks[-1]) == 1:
        # the last of two kinds begins the decimals
        number = number.replace(marks[0], "")
    elif _THOUSANDS.fullmatch(number) and (len(marks) > 1 or marks[0] == own):
        number = number.replace(marks[0], "")
    parts = re.split(r"[.,]", number)
    # 1,2,3 is a list
    return Decimal(".".join(parts) if len(parts) <= 2 else parts[-1])


def _percent(name: str, interval: Interval) -> dict[str, Any]:
    return {key: round(100 * value, 3) for key, value in zip((name, "low", "high"), interval, strict=True)}
