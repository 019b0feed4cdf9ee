"""Letters of other scripts that look like Latin ones, after case folding (from Unicode's UTS #39,
the single-letter ones).

For the option `banned_keywords_homoglyphs`: "раypal" with a Cyrillic beginning then reads "paypal".
Off by default: a text in those scripts is not made of look-alikes, and short keywords would be
found in it.
"""

_LOOKS_LIKE = {
    "a": "аαɑ⍺", "b": "ЬьƄƅВвᏏ", "c": "сϲⅽᴄ", "d": "ԁⅾᏧ", "e": "еєҽ℮", "f": "ƒẝϝ", "g": "ɡցƍ", "h": "һհᏂ", "i": "іɩıⅰӏι",
    "j": "јϳյ", "k": "κкᴋ", "l": "ⅼǀ|ⵏ∣", "m": "мⅿ", "n": "пոηռ", "o": "оοσօ௦ഠ൦ဝ჻ᴏ0", "p": "рρϱ⍴", "q": "ԛգզ", "r": "гᴦⲅꭇ", "s": "ѕꜱƽ",
    "t": "тτᴛ", "u": "υսᴜ", "v": "νѵᴠⅴ∨", "w": "ԝѡաᴡ", "x": "хχⅹ×", "y": "уүγყʏ", "z": "ᴢⲍ",
}  # fmt: skip

LATIN = {ord(other): latin for latin, others in _LOOKS_LIKE.items() for other in others if not other.isascii()}
"""For `str.translate`."""
