"""Finding an operator's keywords in texts: moderation decides by it, and an edge sees by it which
texts hold none. Pure.

matching.py     a text as it is compared, and the keyword in it
plain.py        the texts for which one form is enough
detector.py     whether any of many byte strings stands there
confusables.py  letters that look alike
"""
