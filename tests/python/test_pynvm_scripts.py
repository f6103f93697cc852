"""Programs as they were written for pynvm's nvm.pmemlog, by its documentation; they run as they are."""

import os

from conftest import output_of


def test_a_program_that_keeps_lines(path):
    program = """
        import os
        import sys
        from nvm import pmemlog

        name = sys.argv[1]
        if not os.path.exists(name):
            pool = pmemlog.create(name)
        else:
            pool = pmemlog.open(name)

        print("log holds {} bytes".format(pool.nbyte()))
        pool.append("first line\\n")
        pool.append("second line\\n")

        def show(data):
            sys.stdout.write(data.decode())
            return 1

        pool.walk(show)
        pool.close()
        """
    lines = "first line\nsecond line\n"
    assert output_of(program, path) == "log holds 2088960 bytes\n" + lines
    assert output_of(program, path) == "log holds 2088960 bytes\n" + lines * 2


def test_a_program_with_records_of_one_size(path):
    assert output_of("""
        import struct
        import sys
        import nvm.pmemlog

        nvm.pmemlog.check_version(nvm.pmemlog.PMEMLOG_MAJOR_VERSION, 0)
        log = nvm.pmemlog.create(sys.argv[1], pool_size=4 * 1024 * 1024, mode=0o640)
        for i in range(10):
            if log.append(struct.pack("<IHH", i, 0, i * i)) != 0:
                raise SystemExit("full")
        found = []

        def keep(record):
            found.append(struct.unpack("<IHH", record))
            return 0 if len(found) == 7 else 1

        log.walk(keep, 8)
        print(len(log) == log.nbyte(), log.tell(), found[-1])
        log.rewind()
        print(log.tell())
        log.close()
        print(nvm.pmemlog.check(sys.argv[1]))
        """, path) == "True 80 (6, 0, 36)\n0\nTrue\n"
    assert os.stat(path).st_mode & 0o777 == 0o640


def test_a_program_that_catches_what_was_raised(path):
    assert output_of("""
        import sys
        from nvm import pmemlog

        def attempt(function, *arguments):
            try:
                function(*arguments)
                return "nothing"
            except ValueError:
                return "ValueError"
            except RuntimeError:
                return "RuntimeError"
            except OSError as error:
                return error.errno

        pool = pmemlog.create(sys.argv[1])
        print(attempt(pmemlog.create, sys.argv[1]), attempt(pmemlog.open, sys.argv[1]), attempt(pmemlog.open, "/nowhere"),
              attempt(pmemlog.create, sys.argv[1] + "2", 7), attempt(pmemlog.check_version, 9, 9),
              pmemlog.check("/nowhere"), pool.append(b"x" * pool.nbyte()), pool.append(b"x"))
        again = pmemlog.LogPool(pool.log_pool)
        print(again.tell())
        """, path) == "17 11 2 ValueError RuntimeError False 0 -1\n2088960\n"
