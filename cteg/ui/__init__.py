"""The app: page, player and web API on top of the generator and the ratings store."""
