import platform
import sysconfig

from setuptools import Extension, setup

# gwsync/switches.py: where it cannot be built, gwsync does without. One build, of the stable ABI,
# serves every Python from 3.10 on, but for those without a GIL, which have no such ABI.
without_gil = sysconfig.get_config_var("Py_GIL_DISABLED")
if platform.python_implementation() == "CPython" and not without_gil:
    fast = Extension(
        "gwsync._fast",
        ["gwsync/_fast.c"],
        define_macros=[("Py_LIMITED_API", "0x030A0000")],
        py_limited_api=True,
        optional=True,
    )
    setup(ext_modules=[fast], options={"bdist_wheel": {"py_limited_api": "cp310"}})
else:
    setup()
