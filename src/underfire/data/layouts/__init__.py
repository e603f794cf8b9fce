"""The layouts in which publishers and tools lay out image data: one file each, listed in ``known``."""
