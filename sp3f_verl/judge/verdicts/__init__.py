"""From a judge's words to verdicts, and from the verdicts of a group to win rates."""
