"""A report as data: sections of text, tables and plots, which become Markdown or one HTML page."""
