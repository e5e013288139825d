"""cdefs for targets.py"""

cimport cython

from .config cimport MirrorConfig


@cython.final
cdef class Targets:
    cdef object _local_addresses
    cdef dict _map
    cdef long _mtu_bytes
    cdef readonly dict habits
    cdef readonly dict paths

    @cython.locals(target=tuple)
    cpdef tuple find(self, bytes online, int port)
