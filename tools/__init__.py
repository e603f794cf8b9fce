"""Scripts for working on underfire; nothing here is part of the package."""
