"""Builds the package for pip against installed libraries, which pkg-config finds. `make install` does without this file.

The libraries are found at run time by the folder that pkg-config names, whatever the loader would prefer; where libpmemlog
is installed for this project alone (PREFIX/lib/pmemstream), that one is used, not another one of its name.
"""

import pathlib
import shlex
import shutil
import subprocess
import sys

import setuptools
import setuptools.command.build_py

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))
import build_ffi # noqa: E402

SOURCES = {"_pmemlog": ["guard.c", "logpool.c"],
           "_pmemstream": ["cursor.c", "group.c", "guard.c", "inspect.c", "part.c", "persist.c", "stream.c"]}
REPOSITORY = HERE.parent if (HERE.parent / "VERSION").exists() and (HERE.parent / "Makefile").exists() else None


def pkg_config(*arguments):
    done = subprocess.run(["pkg-config", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"nvm needs the installed libraries: {done.stderr.strip()}\n"
                 "Set PKG_CONFIG_PATH to the folder PREFIX/lib/pkgconfig that `make install` made.")
    return shlex.split(done.stdout)


def version():
    return (REPOSITORY / "VERSION").read_text().strip() if REPOSITORY else pkg_config("--modversion", "libpmemstream")[0]


def libraries(module):
    """How to compile and link one module."""
    stream_folder = pkg_config("--variable=libdir", "libpmemstream")[0]
    private = pathlib.Path(pkg_config("--variable=prefix", "libpmemstream")[0], "lib", "pmemstream")
    if module == "_pmemlog" and (private / "libpmemlog.so").exists():
        compile_flags, link_flags, folder = [], [f"-L{private}", "-lpmemlog"], private
    else:
        name = "libpmemlog" if module == "_pmemlog" else "libpmemstream"
        compile_flags, folder = pkg_config("--cflags", name), pkg_config("--variable=libdir", name)[0]
        link_flags = pkg_config("--libs", name)
    # All of them by name: the folder counts for what this module needs itself, not for what its libraries need.
    return compile_flags, ["-Wl,--no-as-needed", *link_flags, f"-Wl,-rpath,{folder}", f"-Wl,-rpath,{stream_folder}"]


def made(name):
    """A folder for what is made: below build/ of the repository, so that no source tree is littered."""
    folder = (REPOSITORY / "build" if REPOSITORY else HERE) / "pip" / name
    if name == "base": # a file that is no longer part of the package would be installed from there
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def extension(module, folder):
    compile_flags, link_flags = libraries(module)
    source = folder / f"nvm{module}.c"
    build_ffi.ffi_of(module).emit_c_code(str(source))
    return setuptools.Extension(f"nvm.{module}", [str(source), *(f"native/{name}" for name in SOURCES[module])],
                                include_dirs=["native"], extra_compile_args=["-std=gnu11", *compile_flags],
                                extra_link_args=link_flags)


def main():
    folder = made("source")
    version_file = folder / "_version.py"
    version_file.write_text(f'VERSION = "{version()}"\n')

    class BuildPackage(setuptools.command.build_py.build_py):
        """The modules of nvm/, and the one that holds the version."""

        def run(self):
            super().run()
            self.mkpath(str(pathlib.Path(self.build_lib, "nvm")))
            self.copy_file(str(version_file), str(pathlib.Path(self.build_lib, "nvm", "_version.py")))

    setuptools.setup(
        version=version(), packages=["nvm", "nvm.pmemstream"], package_data={"nvm": ["py.typed", "*.pyi"]}, include_package_data=False,
        cmdclass={"build_py": BuildPackage},
        ext_modules=[*(extension(module, folder) for module in SOURCES),
                     setuptools.Extension("nvm._view", ["native/view.c"], define_macros=[("_GNU_SOURCE", None)])],
        options={"build": {"build_base": str(made("base"))}, "egg_info": {"egg_base": str(made("egg"))}})


main()
