"""A quick check that the Hugging Face hub can be reached, because its client retries for a minute."""

from __future__ import annotations

from collections.abc import Sequence


def unreachable(repository: str | None, files: Sequence[str]) -> str | None:
    """Explain why ``repository`` cannot be fetched; None if one of its ``files`` is in the cache or the hub answers."""
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
    except Exception as error:  # hub versions use different HTTP libraries, with different exceptions
        return f"{constants.ENDPOINT} does not answer: {error}"
    return None
