"""Reinforcement learning in verl's PPO trainer: rows, groups, rewards, judges and teachers beside it."""
