"""Top-level domains: of bare addresses, of sure e-mail addresses, of files."""

from __future__ import annotations

from core.privacy.words import words

# Only names nobody writes after a full stop by mistake: no `is`, `it`, `me`, `so`, `in`.
BARE_TOPS = "|".join(
    sorted(
        words("""
        com org net edu gov mil info biz io co ai app dev eu uk de fr es nl ch se dk fi br cn jp ca au
        ru pl cz xyz
        online shop store tech site cloud club blog ly gl gg tv cc ws
        """)
    )
)
# Beyond them, where a path follows.
PATH_TOPS = words("""
    at be us it me is in no so to am id my st sh gy im la vc li lt lu lv ie pt gr hu ro nz mx ar
""")
EMAIL_TOPS = words("""
    com org net edu gov mil int info biz name pro aero coop museum jobs mobi travel tel cat asia post
    xxx app dev io
    page blog shop store online site tech xyz top club live news cloud email agency digital studio
    design solutions
    software systems services support company group world today life media network global center house
    work works
    berlin hamburg koeln bayern wien paris london nyc tokyo amsterdam swiss eus gal bank insurance law
    health care
    example test localhost
""")
# What follows an @ in file names and packages.
FILE_TOPS = words("""
    png jpg jpeg gif svg webp ico css scss less js mjs ts tsx jsx json yml yaml toml py rb php html
    htm xml txt md
    pdf zip gz tar mp3 mp4 lock map vue whl exe dll so
""")
