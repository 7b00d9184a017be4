"""The human evaluation: what people say about how well a face fits a sentence."""
