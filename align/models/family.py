"""Which family a model belongs to, by its name: a judge may favour its own. Torch-free; knows names, not weights."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from .entry import AnyEntry, Endpoint, Offline

FAMILIES = {
    "bloom": r"bloomz?|mt0",
    "claude": r"claude",
    "codegen": r"codegen2?",
    "cohere": r"command(?:-[ar]|-light)?|aya|cohere",
    "deepseek": r"deepseek",
    "falcon": r"falcon",
    "gemini": r"gemini|gemma|codegemma|palm",
    "glm": r"glm|chatglm|codegeex",
    "granite": r"granite",
    "grok": r"grok",
    "internlm": r"internlm",
    "kimi": r"kimi|moonshot",
    "llama": r"llama|codellama|vicuna|alpaca|tulu",
    "minimax": r"minimax",
    "mistral": r"mistral|mixtral|codestral|devstral|ministral|magistral|zephyr",
    "olmo": r"olmo",
    "openai": r"gpt|chatgpt|o[134]|davinci|codex",
    "pangu": r"pangu",
    "phi": r"phi",
    "qwen": r"qwen|qwq|qvq",
    "smollm": r"smollm",
    "starcoder": r"starcoder|santacoder|octocoder|starchat|gpt_bigcode",
    "yi": r"yi",
}
"""Family → the words that tell it, as parts of a name between other characters than letters; a number may follow."""
_PATTERNS = {
    family: re.compile(rf"(?<![a-z])(?:{words})(?=[0-9]|[^a-z]|$)", re.IGNORECASE) for family, words in FAMILIES.items()
}


def families(name: str) -> frozenset[str]:
    """The families that a name tells: two for a model distilled from one into another, none for an unknown name."""
    # gpt-j, gpt-neo and gpt2 are not of the makers' present line; gpt_bigcode is an architecture of StarCoder's
    told = re.sub(r"gpt[-_]?(?:j|neo|neox|2)(?![a-z0-9])", " ", name, flags=re.IGNORECASE)
    found = frozenset(family for family, pattern in _PATTERNS.items() if pattern.search(told))
    return found - {"openai"} if "gpt_bigcode" in name.lower() else found


def real_name(entry: AnyEntry) -> str:
    """The name that tells an entry's family: the server's, the hub id's, or what a folder says of its weights."""
    if isinstance(entry, Endpoint):
        return entry.model
    if isinstance(entry, Offline):
        return entry.offline
    folder = Path(entry.model_name_or_path)
    if families(folder.name) or not folder.is_dir():
        return entry.model_name_or_path if not folder.is_dir() else folder.name
    for file, key in (
        ("base.json", "model_name_or_path"),
        ("adapter_config.json", "base_model_name_or_path"),
        ("config.json", "_name_or_path"),
        ("config.json", "model_type"),
    ):
        told = _member(folder / file, key)
        if families(told):
            return told
    return folder.name


def same_family(judge: str, candidates: Mapping[str, str]) -> list[str]:
    """Labels of the candidates that are of the judge's family, or the judge itself.

    Args:
        judge: the judge's model name.
        candidates: label → model name.
    """
    own = families(judge)
    return sorted(label for label, name in candidates.items() if name == judge or own & families(name))


def _member(path: Path, key: str) -> str:
    """A text of a JSON file; empty where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    value = found.get(key) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""
