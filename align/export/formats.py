"""The forms that a model is exported in: their names, what makes and reads them. Torch-free; makes nothing."""

import importlib.util
from collections.abc import Iterable
from typing import Literal, NamedTuple

from ..errors import BackendError

Format = Literal["safetensors", "ctranslate2", "gptq-int8", "gptq-int4", "bnb-int8", "bnb-nf4"]


class Form(NamedTuple):
    """What is to be known of a form before it is made."""

    words: str
    """What a card calls it."""
    needs: tuple[str, ...] = ()
    """Modules that make and read it, beside `[train]`."""
    extra: str = ""
    """The extra that installs them."""


FORMS: dict[str, Form] = {
    "safetensors": Form("whole weights, in `model/`"),
    "ctranslate2": Form("CTranslate2, 8-bit integers", ("ctranslate2",), "ctranslate2"),
    "gptq-int8": Form("GPTQ, 8 bits (arXiv 2210.17323)", ("gptqmodel", "optimum"), "gptq"),
    "gptq-int4": Form("GPTQ, 4 bits (arXiv 2210.17323)", ("gptqmodel", "optimum"), "gptq"),
    "bnb-int8": Form("bitsandbytes, LLM.int8() (arXiv 2208.07339)"),
    "bnb-nf4": Form("bitsandbytes, 4-bit NormalFloat with double quantisation (arXiv 2305.14314)"),
}
"""Format → form; every one but `safetensors` is a folder of its name."""
FOLDERS = {"safetensors": "model"} | {name: name for name in FORMS if name != "safetensors"}
"""Format → the folder that an export leaves it in."""
CT2_CLASSES = ("gpt_bigcode", "bloom")
"""Classes of `align`'s models that CTranslate2 4.8 converts: StarCoder2 is not among them."""
GPTQ_CLASSES = ("gpt_bigcode", "starcoder2", "bloom")
"""Classes that GPTQ is tested with."""


def unknown_class(name: str, model_type: str) -> str | None:
    """Why the library of a form does not convert a class; None where it does."""
    known = CT2_CLASSES if name == "ctranslate2" else GPTQ_CLASSES if is_calibrated(name) else (model_type,)
    if model_type in known:
        return None
    return (
        f"{name}: its library does not convert {model_type} ({', '.join(known)}): "
        "leave it out; bnb-int8 and bnb-nf4 serve every class"
    )


def check_libraries(formats: Iterable[str]) -> None:
    """Refuse a form whose library is not installed.

    Raises:
        BackendError: with what to install.
    """
    for name in formats:
        for module in FORMS[name].needs:
            if importlib.util.find_spec(module) is None:
                raise BackendError(f"{name}: {module} is not installed: pip install 'align-rrtf[{FORMS[name].extra}]'")


def is_calibrated(name: str) -> bool:
    """Whether a form is made by the help of texts."""
    return name.startswith("gptq")
