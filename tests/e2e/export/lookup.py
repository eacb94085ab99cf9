"""Looks up a target in a TUF repository on disk with python-tuf, from its first root.

usage: lookup.py FOLDER TARGET
Prints the SHA-256 of the target, or nothing where it is not there.
"""

import pathlib
import sys
import tempfile
import urllib.parse

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater


class Folder(FetcherInterface):
    """Serves files below a folder, as a web server would."""

    def __init__(self, root):
        self.root = root

    def _fetch(self, url):
        path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
        try:
            yield (self.root / path.lstrip("/")).read_bytes()
        except FileNotFoundError:
            raise DownloadHTTPError("not there", 404) from None


folder, target = pathlib.Path(sys.argv[1]), sys.argv[2]
with tempfile.TemporaryDirectory() as memory:
    updater = Updater(
        metadata_dir=memory,
        metadata_base_url="http://folder/metadata/",
        target_base_url="http://folder/targets/",
        fetcher=Folder(folder),
        bootstrap=(folder / "metadata/1.root.json").read_bytes(),
    )
    updater.refresh()
    found = updater.get_targetinfo(target)
    if found:
        print(found.hashes["sha256"])
