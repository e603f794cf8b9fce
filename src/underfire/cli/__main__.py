"""``python -m underfire.cli``."""

from underfire.cli import main

if __name__ == "__main__":
    main()
