"""Supervised fine-tuning: which tokens are trained on, and the dataset that says so."""
