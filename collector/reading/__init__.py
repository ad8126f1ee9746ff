"""What engineers read: one vehicle's signals over a time range, whatever streams and schemas they came in.

signals     which signals a vehicle has, and which were meant
pieces      records in the order of time: merged, thinned out, holes shown
series      what a question is answered with
vehicle     one vehicle of a store: `open_store(...).vehicle(vin)`
frame       its signals as a pandas DataFrame
"""
