"""CTEG, the model: attention, EwA, latent path, decoder layers, losses."""
