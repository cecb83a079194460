"""The one tokenisation of prompt and response, shared by sampling, training and evaluation. Judges no text.

A row is the prompt's ids followed by the response's ids, tokenised apart: the ids at the seam are the same whether
a model wrote the response or is trained on it. Nothing is truncated here or anywhere else.
"""

from transformers import PreTrainedTokenizerBase

from ..errors import DataError


class Encoder:
    """Turns final text into ids and back.

    Args:
        tokenizer: any transformers tokenizer with an end-of-text token.

    Raises:
        DataError: the tokenizer has no end-of-text token, so a response could not say where it ends.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if tokenizer.eos_token_id is None:
            raise DataError(
                f"{tokenizer.name_or_path}: the tokenizer has no eos_token: set it in tokenizer_config.json"
            )
        self.tokenizer = tokenizer
        self.eos_id: int = tokenizer.eos_token_id
        # the pad token only fills rows; masks never look for its id, so it may be the EOS itself
        self.pad_id: int = self.eos_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        marked: list[int] = tokenizer("a")["input_ids"]
        self._opening = (
            marked[:1] if marked[:1] == [tokenizer.bos_token_id] and marked[:1] != self._ids("a")[:1] else []
        )

    @property
    def opens_with_bos(self) -> bool:
        """Whether prompts are given a BOS, as the tokenizer does by itself."""
        return bool(self._opening)

    def prompt(self, text: str) -> list[int]:
        """Ids of a prompt, after the BOS where the tokenizer puts one by itself."""
        return self._opening + self._ids(text)

    def response(self, text: str) -> list[int]:
        """Ids of a response with the EOS that ends it; the EOS is a target like any other token."""
        return [*self._ids(text), self.eos_id]

    def decode(self, ids: list[int]) -> str:
        """Text of a response's ids, up to its first EOS, other special tokens left out."""
        end = ids.index(self.eos_id) if self.eos_id in ids else len(ids)
        return str(self.tokenizer.decode(ids[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids
