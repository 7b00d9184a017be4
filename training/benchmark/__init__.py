"""How fast, how large, and against what: `python -m training.benchmark`.

| file | measures |
|---|---|
| `timing.py` | how things are timed, the fitted exponents, the description of the machine |
| `decoding.py` | decoding at the paper's size against its products and against recomputing; by frames and samples |
| `generator.py` | a sentence with the bundled weights: encoding, first frame, full result, threads |
| `head.py` | deforming the head |
| `loop.py` | training against the plain loop of the released design |
| `files.py` | every kind of export |
| `app.py` | imports, start and memory of the app, and the page in a browser |
| `players.py` | the player against plotly and Gradio's own viewer with the same clips |
"""
