"""The small networks that ship with underfire, and the recipes that trained them."""
