"""The Hugging Face hub: is there a network to it, before its client tries again and again?"""

from __future__ import annotations

from collections.abc import Sequence


def unreachable(repository: str | None, files: Sequence[str]) -> str | None:
    """Why ``repository`` cannot be fetched, or None where one of its ``files`` is in the cache, or the hub answers.

    Without a network the hub's client waits for a minute before it gives up.
    """
    import huggingface_hub
    from huggingface_hub import constants

    if not repository:
        return None
    if any(isinstance(huggingface_hub.try_to_load_from_cache(repository, file), str) for file in files):
        return None
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set, and it is not in the cache"
    try:
        huggingface_hub.get_session().head(constants.ENDPOINT, timeout=10)
    except Exception as error:  # the client's library differs between versions, and so do its exceptions
        return f"{constants.ENDPOINT} does not answer: {error}"
    return None
