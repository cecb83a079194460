"""Sequence classification of dialogues: reward models (one label), and others by their labels. Trains nothing.

A dialogue is put in the words of the tokenizer's chat template; a tokenizer that has none, but marks between two texts
(BERT's kind), gets prompt and response as a pair of texts. Longer ones than the model has positions are left out: a cut
answer would be another answer.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from ..errors import ConfigError, DataError
from .chain import check_folder, read_base
from .denormals import flushed
from .entry import Weights
from .load import fetch, fetch_weights, load_tokenizer, zero_dropouts

BATCH_TOKENS = 8192
"""Tokens of a batch, padding included."""
Dialogue = Sequence[Mapping[str, str]]
"""Turns, each `{role, content}`."""


class Classifier:
    """A model with a sequence-classification head.

    Args:
        entry: its weights; only safetensors are read.
        batch_tokens: tokens that are run at once.

    Raises:
        DataError: the folder lacks something, such as the head's weights, or holds an adapter.
        BackendError: a hub id cannot be reached, or a library is missing.
    """

    @flushed()
    def __init__(self, entry: Weights, batch_tokens: int = BATCH_TOKENS) -> None:
        self.name = entry.model_name_or_path
        self._model, self._batch_tokens = _load(entry), batch_tokens
        self._tokenizer = load_tokenizer(entry)
        # only what stands before a token can move its position
        self._tokenizer.padding_side = "right"
        self._model.config.pad_token_id = self._tokenizer.pad_token_id
        names: dict[int, str] = self._model.config.id2label
        self.labels = [names[index] for index in range(len(names))]

    def rewards(self, dialogues: Sequence[Dialogue]) -> list[float | None]:
        """The reward of each dialogue's last turn; None where it is longer than the model's positions.

        Raises:
            ConfigError: the model has not one label, or no way to read dialogues.
            DataError: a reward is not finite.
        """
        if len(self.labels) != 1:
            raise ConfigError(f"{self.name}: a reward model has one label, this one {len(self.labels)}: {self.labels}")
        return [None if row is None else row[0] for row in self.logits(dialogues)]

    @flushed()
    def logits(self, dialogues: Sequence[Dialogue]) -> list[list[float] | None]:
        """One number a label for each dialogue; None where it is longer than the model's positions.

        Raises:
            ConfigError: the tokenizer has neither a chat template nor marks between two texts.
            DataError: a number is not finite.
        """
        encoded = [self._encode(dialogue) for dialogue in dialogues]
        found: list[list[float] | None] = [None] * len(encoded)
        for batch in self._batches([len(one["input_ids"]) for one in encoded]):
            for index, row in zip(batch, self._run([encoded[index] for index in batch]), strict=True):
                if not all(map(math.isfinite, row)):
                    raise DataError(f"{self.name}: gives {row} for a dialogue: load it with `dtype: float32`")
                found[index] = row
        return found

    def _encode(self, dialogue: Dialogue) -> dict[str, list[int]]:
        turns = [dict(turn) for turn in dialogue]
        encoded: Any
        if self._tokenizer.chat_template is not None:
            asks = turns[-1]["role"] != "assistant"
            encoded = self._tokenizer.apply_chat_template(turns, add_generation_prompt=asks, return_dict=True)
        elif len(turns) == 2 and self._tokenizer.num_special_tokens_to_add(pair=True):
            encoded = self._tokenizer(turns[0]["content"], turns[1]["content"], truncation=False, verbose=False)
        else:
            raise ConfigError(
                f"{self.name} has no chat template, and is asked in messages: "
                "give its entry under models: `chat_template: zephyr`"
            )
        return {name: list(values) for name, values in encoded.items()}

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Indices of what fits the model, in batches of similar length."""
        positions = getattr(self._model.config, "max_position_embeddings", None)
        batch: list[int] = []
        # the longest first: what does not fit into memory fails at once
        for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
            if positions is not None and lengths[index] > positions:
                continue
            if batch and (len(batch) + 1) * lengths[batch[0]] > self._batch_tokens:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    def _run(self, encoded: Sequence[Mapping[str, list[int]]]) -> list[list[float]]:
        inputs = self._tokenizer.pad([dict(one) for one in encoded], return_tensors="pt").to(self._model.device)
        with torch.inference_mode():
            rows: list[list[float]] = self._model(**inputs).logits.float().tolist()
        return rows


def _load(entry: Weights) -> Any:
    """The model with its head, on the GPU where there is one."""
    folder = Path(entry.model_name_or_path)
    if entry.is_local:
        check_folder(folder)
        if read_base(folder) is not None:
            raise DataError(f"{folder}: an adapter: merge it into its base first")
    config = fetch(AutoConfig, entry)
    zero_dropouts(config)
    # a head that is missing is refused: it would be drawn at random, and its scores with it
    model = fetch_weights(AutoModelForSequenceClassification, entry, config)
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
