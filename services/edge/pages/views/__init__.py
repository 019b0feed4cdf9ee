"""One file a subject: what it asks, and how that is laid out. A change is a function of the form it
came with.
"""
