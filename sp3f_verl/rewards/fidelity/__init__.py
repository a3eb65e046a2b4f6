"""In which language a text is, and how much of it."""
