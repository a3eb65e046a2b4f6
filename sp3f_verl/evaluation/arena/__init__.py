"""`sp3f evaluate --arena`: how often a judge prefers a model's answers to another's."""
