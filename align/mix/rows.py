"""Training rows of one source: rendered by a template, or read in xP3's form; what is dropped is counted.

Does not weigh, cap or shuffle.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ..errors import DataError
from ..schema import MultitaskRow
from .language import language
from .sandbox import TemplateLimit, size
from .sources import Source
from .template import RowError, Template

HASH = 0x9E3779B97F4A7C15


class Rows:
    """The rows of a source under one template, with counts of what was dropped, by reason.

    Iterating reads the source from its beginning and counts anew. The reasons: `empty_input`, `empty_target`,
    `several_targets`, `hidden_label` (below 0, or blank), `constant_label` (one value in the whole split),
    `missing_field`, `failed` (the template does not fit the row's values), `too_large`, `not_text`.

    Args:
        source: where the rows come from.
        template: what makes them; None where the source has `inputs` and `targets`.
        seed: of the `choice` filter. Row n draws the same whatever came before it.
    """

    def __init__(self, source: Source, template: Template | None = None, seed: int = 0) -> None:
        self.source = source
        self.template = template
        self.seed = seed
        self.kept = 0
        self.dropped: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        """Reason → the place and cause of the first row dropped for it."""

    def check(self) -> None:
        """Refuse, before training starts, a source that the template does not fit.

        Raises:
            ConfigError, DataError: see `Source.check`.
        """
        self.source.check([self.template] if self.template else [])

    def __iter__(self) -> Iterator[MultitaskRow]:
        return (made for _, made in self.keyed())

    def keyed(self) -> Iterator[tuple[bytes, MultitaskRow]]:
        """Each row after the key of what it is made of: the source's row, or its own text where no template made it.

        Raises:
            DataError: a row in xP3's form is no such row, or the template fails on every row.
            ConfigError: the template works without end, or reaches for what it may not.
        """
        self.kept, self.dropped, self.examples = 0, Counter(), {}
        withheld = self.source.constant_labels(self.template.labels) if self.template else []
        for number, (where, row) in enumerate(self.source.rows()):
            try:
                if withheld:
                    raise RowError("constant_label", f"{withheld[0]} is {row.get(withheld[0])!r} in every row")
                made = self._row(where, row, number)
            except RowError as error:
                self.dropped[error.reason] += 1
                self.examples.setdefault(error.reason, f"{where}: {error.detail}")
                continue
            self.kept += 1
            yield text_key(made) if self.template is None else _key(repr(sorted(row.items()))), made
        failed = self.dropped["failed"] + self.dropped["missing_field"]
        if failed and failed == sum(self.dropped.values()) + self.kept:
            example = self.examples.get("failed") or self.examples["missing_field"]
            name = self.template.name if self.template else ""
            raise DataError(f"{example}: template {name!r} fits no row of the source: mend it, or leave it out")

    def _row(self, where: str, row: dict[str, Any], number: int) -> MultitaskRow:
        try:
            size(row)
        except TemplateLimit:
            raise RowError("too_large", "over a million characters") from None
        if self.template is None:
            inputs, targets, name = self._given(where, row)
        else:
            # splitmix's increment: neighbours' draws share nothing
            made = self.template.render(row, self.seed + HASH * (number + 1))
            inputs, targets, name = made.inputs, made.targets, self.template.name
        code = self.source.language or language(str(row.get("lang", "")), where)
        try:
            f"{inputs}{targets}".encode()
        except UnicodeEncodeError:
            # half a surrogate pair, which no tokenizer takes
            raise RowError("not_text", "half a surrogate pair in it") from None
        return MultitaskRow(inputs=inputs, targets=targets, task=self.source.task, language=code, template=name)

    def _given(self, where: str, row: dict[str, Any]) -> tuple[str, str, str]:
        sides = []
        for name, reason in (("inputs", "empty_input"), ("targets", "empty_target")):
            value = row.get(name)
            if isinstance(value, list):
                if len(value) > 1:
                    raise RowError("several_targets", f"{len(value)} {name}")
                value = value[0] if value else ""
            if not isinstance(value, str):
                found = "nothing" if value is None else repr(value)[:60]
                raise DataError(f"{where}: {name}: must be text, found {found} (columns: {', '.join(row)})")
            if not value.strip():
                raise RowError(reason, f"{name} is blank")
            sides.append(value)
        return sides[0], sides[1], self.source.template


def text_key(row: MultitaskRow) -> bytes:
    """8 bytes, the same for rows of one input and target."""
    return _key(f"{row.inputs}\0{row.targets}")


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
