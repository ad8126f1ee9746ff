"""Recorded drives: our own car's DBC and drives, what made them, and every way to look at a log or play it.

vehicle, pack, thermal, road, noise  the model of a car; models, scenarios: which car, which drive
generate                             frames of a drive, as a candump log
read, formats, recording             logs of every format, as they are in the world
bus                                  the python-can interface `replay`; play: onto any other interface
info, decode                         what is in a log
"""
