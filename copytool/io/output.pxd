"""cdefs for output.py"""

cimport cython

from ..wire cimport octets
from . cimport sending


cdef class PacketOutput:
    cdef public object errors
    cdef object _next_hops
    cdef dict _by_interface
    cdef dict _raw
    cdef set _without_bursts
    cdef dict _prefixes

    @cython.locals(
        hops=dict,
        messages=list,
        target=bytes,
        plain=bytes,
        interface=str,
        packet=bytearray,
        segment_bytes=Py_ssize_t,
        destination=bytes,
    )
    cpdef send(self, list packets, double now)

    @cython.locals(start=Py_ssize_t, kind=int, header_bytes=Py_ssize_t)
    cdef bytes _prefix(self, hop, Py_ssize_t address_bytes, Py_ssize_t segment_bytes)

    @cython.locals(sent=Py_ssize_t, done=Py_ssize_t)
    cdef _send_messages(self, list messages, double now)
