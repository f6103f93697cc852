"""hello_stream.py: a log of words; each run appends what it was given and shows all that was ever appended.

Run:   python3 hello_stream.py hello world
Run:   python3 hello_stream.py again
"""

import sys

from nvm import pmemstream

with pmemstream.open("hello.stream", create=True, size=1 << 20) as log:
    words = log.regions.get_or_create("words", 64 << 10)
    for word in sys.argv[1:]:
        words.append(word.encode()) # when it has returned, the entry survives a power cut
    for entry in words:
        print(f"{entry.timestamp}: {bytes(entry).decode()}")
