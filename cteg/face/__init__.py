"""The face: the rig that turns coefficients into vertices, and pictures of it without a GPU."""
