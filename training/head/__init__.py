"""Steps of the head builder: read MakeHuman, subdivide, shape, add parts, paint, pack."""
