"""Put an export on the Hugging Face hub, or another server of its kind (`HF_ENDPOINT`). Torch-free.

The token is read from the environment and appears nowhere: not in a recipe, a message or a file.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import BackendError, ConfigError

TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
TRUE = ("1", "true", "yes", "on")


def check_push(environ: Mapping[str, str] = os.environ) -> str:
    """The token, before anything is made that is to be pushed.

    Raises:
        ConfigError: there is no token, or this process is told to stay offline.
    """
    for name in OFFLINE:
        if environ.get(name, "").lower() in TRUE:
            raise ConfigError(f"push_to_hub: {name} is set, so nothing is sent: unset it, or remove push_to_hub")
    for name in TOKENS:
        if environ.get(name):
            return environ[name]
    raise ConfigError("push_to_hub: no token: set the environment variable HF_TOKEN to one that may write")


def push(folders: Mapping[str, Path], repo_id: str, *, private: bool, token: str) -> str:
    """Upload folders as one model's repository, which is made where there is none; returns its address.

    Args:
        folders: place in the repository (`""` is its root) → folder.
        repo_id: `owner/name`.
        private: whether a new repository is seen by its owner only.
        token: of an account that may write there.

    Raises:
        BackendError: the hub cannot be reached, or refuses.
    """
    from huggingface_hub import HfApi

    api: Any = HfApi(token=token, endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        address = api.create_repo(repo_id, private=private, exist_ok=True)
        for place, folder in folders.items():
            api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                path_in_repo=place or None,
                commit_message=f"align export: {place or 'model'}",
            )
    except Exception as error:  # the client raises a dozen unrelated types for: not reachable, not allowed
        reason = (str(error).strip().splitlines() or [""])[0].replace(token, "…")
        raise BackendError(
            f"push_to_hub: {repo_id}: the hub did not take it ({type(error).__name__}: {reason[:160]}): "
            "the export itself is whole: run again"
        ) from None
    return str(address)
