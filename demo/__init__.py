"""`make demo`: the whole system on one machine, cut, killed, and judged.

script, stage, processes, proxy      what happens, and to whom
vehicles, settings, own_log          five cars, or somebody's own
side_log, comparison, judge          what was sampled against what the collector gives back
baselines, verdict, view             the same records as other schemes send them; what a person sees
"""
