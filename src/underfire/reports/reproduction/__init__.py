"""A reproduction as Markdown, charts, pictures and a page."""
