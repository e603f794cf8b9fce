"""``python -m underfire``."""

from underfire.cli import main

main()
