"""``python -m underfire.cli``."""

from underfire.cli import main

main()
