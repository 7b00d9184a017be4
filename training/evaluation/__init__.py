"""How systems are compared: estimates with intervals, all figures of a system, tables, plots."""
