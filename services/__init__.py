"""The four services, and the suite that runs them together on one machine. They never import each
other.
"""
