"""golden.py ACTOR FOLDER: the library and the second decoder read from each golden file what stands beside it.

FOLDER is tests/golden/stream: files of version 1 of the format, made once (make_golden.py), so that neither the
library nor the decoder nor both of them together can drift away from streams that exist.
"""

import json
import os
import pathlib
import shutil
import sys
import tempfile

import agree
import stream_decode
from agree import tap


def main(folder):
    os.chdir(tempfile.mkdtemp(dir=os.environ.get("TMPDIR")))
    paths = sorted(folder.glob("*.stream"))
    for path in paths:
        about, _, text = path.with_suffix(".txt").read_text().partition("\n\n")
        expected = json.loads(text)
        block = expected.pop("block_size")
        decoded = stream_decode.decode(path.read_bytes())
        decoded.pop("block_size", None)
        problems = [] if decoded == expected else [f"the decoder reads {decoded}"]
        for verb, granularity in (("look", "BYTE"), ("open", "PAGE"), ("open", "BYTE")):
            # A read-only map shows what is left of a damaged stream, and cannot hold a new one.
            if verb == "open" or expected["status"] not in ("EBADMSG", "EMPTY"):
                shutil.copy(path, path.name)
                problems += agree.read_by_both([path.name], block, granularity, verb)
        tap.case(f"{path.stem}: {about}", problems)
    tap.case("the golden files are there", "" if len(paths) >= 50 else f"only {len(paths)} of them")
    shutil.rmtree(os.getcwd())
    tap.done()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[2]).resolve())
