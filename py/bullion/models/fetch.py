"""From a base model's name to a folder of this machine with safetensors in it.

Owns the two hubs (Hugging Face, ModelScope), what is downloaded from them, and the checks that a
folder must pass before anything reads it: safetensors only, no code of strangers. It loads nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from bullion.contract.errors import Refusal, missing_package
from bullion.contract.recipe import BaseModel
from bullion.models.settings import read_settings

# Weights, configuration and tokenizer; never pickles, never Meta's own `original/` copy.
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "tokenizer.model"]
UNWANTED = ["original/*", "*.bin", "*.pt", "*.pth", "*.ckpt"]
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")

# One model, two names: ModelScope's on the left, Hugging Face's on the right.
SAME_MODEL = {"LLM-Research/Meta-Llama-3-8B-Instruct": "meta-llama/Meta-Llama-3-8B-Instruct"}


def local_folder(base: BaseModel) -> Path:
    """The folder with `base`'s files, downloaded when it names a hub.

    Raises Refusal: model_not_found, hub_unreachable, hub_access_denied, missing_package,
    unsafe_weights, broken_config, remote_code_required.
    """
    if base.hub is None:
        folder = Path(base.path)
        if not folder.is_dir():
            raise Refusal(
                "model_not_found",
                f"Cannot load {base.name!r} as {base.path} is no folder: give a model folder, "
                "a hub id or an alias of the models file",
                "model",
            )
    elif base.hub == "huggingface":
        folder = _from_hugging_face(base)
    else:
        folder = _from_modelscope(base)
    check_folder(folder, base.name)
    allows_remote_code(base, folder)
    return folder


def check_folder(folder: Path, name: str) -> None:
    """Refuse a folder without config.json or without safetensors."""
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise Refusal(
                "model_not_found",
                f"Cannot load {name!r} as {folder} holds an adapter and no base: copy it into the data "
                "folder, and ask for it by its place there",
                "model",
            )
        raise Refusal(
            "model_not_found",
            f"Cannot load {name!r} as {folder} holds no config.json: is it a model folder?",
            "model",
        )
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
    if pickles:
        raise Refusal(
            "unsafe_weights",
            f"Cannot load {name!r} as its weights are pickles ({pickles[0]}), which can run code: "
            "convert them to safetensors first",
            "model",
        )
    raise Refusal(
        "model_not_found", f"Cannot load {name!r} as {folder} holds no *.safetensors", "model"
    )


def allows_remote_code(base: BaseModel, folder: Path) -> bool:
    """Whether the model's own code may run. A model that brings code is refused unless both agree:
    the request (`trust_remote_code`) and the operator (BULLION_ALLOW_REMOTE_CODE=1)."""
    config = read_settings(folder / "config.json")
    if not config.get("auto_map"):
        return False
    if base.trust_remote_code and os.environ.get("BULLION_ALLOW_REMOTE_CODE") == "1":
        return True
    raise Refusal(
        "remote_code_required",
        f"Cannot load {base.name!r} as it runs code of its own (auto_map in config.json): "
        "trust_remote_code: true counts only where the operator sets BULLION_ALLOW_REMOTE_CODE=1",
        "model",
    )


def hub_id(path: str, hub: str) -> str:
    """The id of one and the same model on `hub`."""
    if hub == "huggingface":
        return SAME_MODEL.get(path, path)
    return {theirs: ours for ours, theirs in SAME_MODEL.items()}.get(path, path)


def _from_hugging_face(base: BaseModel) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    wanted = hub_id(base.path, "huggingface")
    try:
        return _download(
            lambda: snapshot_download(wanted, allow_patterns=WANTED, ignore_patterns=UNWANTED),
            base,
            "Hugging Face",
        )
    except GatedRepoError as raised:
        raise Refusal(
            "hub_access_denied",
            f"Cannot download {wanted!r} as its owner asks for consent: accept the licence on its "
            "page, then set HF_TOKEN",
            "model",
        ) from raised
    except (RepositoryNotFoundError, HFValidationError) as raised:
        raise Refusal(
            "model_not_found",
            f"Cannot find {wanted!r} on Hugging Face: check the id, or set HF_TOKEN if it is private",
            "model",
        ) from raised


def _from_modelscope(base: BaseModel) -> Path:
    try:
        from modelscope import snapshot_download
    except ImportError as raised:
        what = f"Downloading {base.path!r} from ModelScope"
        raise missing_package(what, "modelscope", "model") from raised
    wanted = hub_id(base.path, "modelscope")
    try:
        return _download(
            lambda: snapshot_download(wanted, allow_patterns=WANTED, ignore_patterns=UNWANTED),
            base,
            "ModelScope",
        )
    except Exception as raised:
        if type(raised).__name__ in ("NotExistError", "InvalidParameter"):
            raise Refusal(
                "model_not_found", f"Cannot find {wanted!r} on ModelScope: check the id", "model"
            ) from raised
        raise


def _download(fetch: Callable[[], str], base: BaseModel, hub: str) -> Path:
    try:
        return Path(fetch())
    except Exception as raised:
        if _is_network_failure(raised):
            raise Refusal(
                "hub_unreachable",
                f"Cannot download {base.path!r} as {hub} cannot be reached: check the network, or "
                "name a folder that holds the model",
                "model",
            ) from raised
        raise


def _is_network_failure(raised: BaseException | None) -> bool:
    """Hubs wrap connection errors of several HTTP libraries; the chain of causes tells."""
    seen: set[int] = set()
    while raised is not None and id(raised) not in seen:
        seen.add(id(raised))
        name = type(raised).__name__
        if isinstance(raised, (ConnectionError, TimeoutError)) or name in (
            "LocalEntryNotFoundError",
            "OfflineModeIsEnabled",
            "ConnectError",
            "ConnectTimeout",
            "ReadTimeout",
            "ConnectionError",  # of requests, no kin of Python's own
            "Timeout",
            "ProxyError",
        ):
            return True
        raised = raised.__cause__ or raised.__context__
    return False
