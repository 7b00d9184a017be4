"""Systems to compare CTEG with, all behind one small protocol (`cteg.baselines.system`)."""
