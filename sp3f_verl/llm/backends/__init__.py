"""Who answers: an endpoint, a batch of it, or a model that is loaded here. `base.py` is what all of them share."""
