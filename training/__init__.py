"""Training: corpus, text encoder, performances, CTEG, head. Nothing in `cteg` imports it."""
