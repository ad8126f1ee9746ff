"""`collector export`: any range of a vehicle as a file that other tools read.

job         what is asked, and the file in its place once it is whole
arrow       Parquet, Arrow and CSV, by pyarrow
mdf         MDF4, by asammdf
"""
