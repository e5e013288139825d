"""cdefs for handshakes.py"""

cimport cython

from ..wire cimport segment as tcp
from ..wire cimport seq as serial
from ..wire.segment cimport Segment

cdef int ACK
cdef int RST
cdef long long _MAX_FIRST_FLIGHT


@cython.final
cdef class Handshakes:
    cdef dict _syns
    cdef long long _bytes
    cdef public Segment syn
    cdef public bytes packet

    @cython.locals(known=bytes)
    cpdef note(self, bytes key, bytes packet)

    cpdef bint is_next(self, bytes key, Segment segment) except *
    cdef Py_ssize_t _isn(self, bytes packet) except -1

    @cython.locals(packet=bytes, syn=Segment, ahead="long long")
    cpdef bint complete(self, bytes key, Segment segment, bint shows_data) except *

    @cython.locals(packet=bytes)
    cpdef discard(self, bytes key)
