"""What runs in a harness's own Python, by the path of the file: it imports nothing of ours."""
