"""A request to an OpenAI-compatible server: the client, and what servers answer in all the shapes in which they do."""
