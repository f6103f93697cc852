"""install.py install|uninstall DESTDIR: installs what build/release holds, or removes the same files again.

PREFIX is a setting of build/release, which the Makefile makes before. Nothing is compiled here. DESTDIR may be empty
and may be relative to the folder of the call. Uninstalling asks Meson what it would install, so that it needs no log of
the installation and works after `make clean`.
"""

import json
import os
import pathlib
import subprocess
import sys

BUILD = pathlib.Path("build/release")
OURS = ("miniasync", "pmemstream", "pmemlog", "nvm") # folders with such names go when they are empty


def below(destdir, path):
    """Where an absolute path of the installation lies under DESTDIR."""
    return pathlib.Path(destdir + str(path)) if destdir else pathlib.Path(path)


def introspect(what):
    done = subprocess.run(["meson", "introspect", what, str(BUILD)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def prefix():
    return next(option["value"] for option in introspect("--buildoptions") if option["name"] == "prefix")


def installed_files():
    """Every path that the build installs, without DESTDIR; folders that are installed whole are taken apart."""
    for source, target in introspect("--installed").items():
        source, target = pathlib.Path(source), pathlib.Path(target)
        if source.is_dir():
            yield from (target / p.relative_to(source) for p in source.rglob("*") if p.is_file() and p.name != "meson.build")
        else:
            yield target


def refused(folder):
    """True if this user may not write to a folder, or not make it."""
    while not folder.exists():
        folder = folder.parent
    return not os.access(folder, os.W_OK | os.X_OK)


def install(targets, destdir):
    environment = {**os.environ, "DESTDIR": destdir}
    if not destdir:
        del environment["DESTDIR"]
    done = subprocess.run(["meson", "install", "--no-rebuild", "--quiet", "-C", str(BUILD)], env=environment, check=False)
    log = BUILD / "meson-logs" / "install-log.txt"
    if os.geteuid() == 0 and log.exists(): # sudo make install must not lock the owner out of his tree
        owner = BUILD.stat()
        os.chown(log, owner.st_uid, owner.st_gid)
    if done.returncode == 0:
        print(f"{len(targets)} files installed below {below(destdir, prefix())}")
    return done.returncode


def compiled(target):
    """What Python made of an installed module when root imported it."""
    return target.parent.glob(f"__pycache__/{target.stem}.*.pyc") if target.suffix == ".py" else ()


def uninstall(targets, destdir):
    top, folders, count = below(destdir, prefix()), set(), 0
    for target in targets:
        for cache in compiled(target):
            cache.unlink()
            folders.add(cache.parent)
        if target.is_symlink() or target.exists():
            target.unlink()
            count += 1
            folders.update(parent for parent in target.parents if top in parent.parents)
    for folder in sorted(folders, key=lambda f: len(f.parts), reverse=True):
        ours = any(name in folder.name for name in OURS) or folder.name == "__pycache__"
        if ours and folder.exists() and not any(folder.iterdir()):
            folder.rmdir()
    print(f"{count} files removed below {top}")
    return 0


def main():
    verb, destdir = sys.argv[1], sys.argv[2]
    destdir = os.path.abspath(destdir) if destdir else ""
    targets = [below(destdir, path) for path in installed_files()]
    for folder in sorted({target.parent for target in targets}):
        if refused(folder):
            print(f"{folder} is not yours to write to: run this as root, or choose DESTDIR= or PREFIX=", file=sys.stderr)
            return 1
    status = {"install": install, "uninstall": uninstall}[verb](targets, destdir)
    if status == 0 and not destdir and os.geteuid() == 0:
        subprocess.run(["/sbin/ldconfig"], check=False)
    return status


if __name__ == "__main__":
    sys.exit(main())
