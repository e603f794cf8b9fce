"""Reports: a run's results as tables, figures, a page and exported files."""
