"""Sources of made-up tasks in several languages, and pools of them."""

import json
from pathlib import Path

import pytest

from align.mix import Template, raw
from align.mix.part import parts
from align.mix.pool import build

ASK = Template("ask", "{{ word }}? ||| {{ word }}{{ tail }}", "t.yaml:1")


@pytest.fixture
def source(tmp_path):
    """Write rows of one language; their source."""

    def make(code, count, task="words", tail="s"):
        path = tmp_path / f"{task}.{code}.jsonl"
        lines = [json.dumps({"word": f"{code}{n}", "tail": tail}) + "\n" for n in range(count)]
        path.write_text("".join(lines))
        return raw(path)

    return make


@pytest.fixture
def pool(source, tmp_path):
    """The pool of so many rows of each language, under one template."""

    def make(counts, **options):
        found = parts([(source(code, count), ASK) for code, count in counts.items()])
        return build(found, Path(tmp_path / "pool"), **{"seed": 1, "workers": 1, **options})

    return make
