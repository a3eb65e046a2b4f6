"""What a judge that asks a model is asked: kinds of question, pairs, prompts, and the client that puts them."""
