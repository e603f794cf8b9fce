"""Pictures from images and maps, sheets of them, and their display in notebooks."""
