"""cdefs for records.py"""

cimport cython

from ..wire cimport octets
from ..wire cimport seq as serial
from ..wire.segment cimport Segment

cdef int _ACK
cdef int _FIN
cdef int _RST
cdef int _SYN
cdef int _MAX_COUNT
cdef int _MAX_WINDOW_SCALE
cdef bytes _MAPPED


@cython.final
cdef class ResponseRecord:
    cdef public bytes key
    cdef public unsigned int ack
    cdef public unsigned int end
    cdef public unsigned int control_seq
    cdef public int window
    cdef public int mss
    cdef public int flags
    cdef public int data_segments
    cdef public int duplicate_acks
    cdef public int window_scale

    @cython.locals(key=bytes, half=Py_ssize_t)
    cpdef begin(self, Segment segment)

    @cython.locals(flags=int, length="long long", end="unsigned int", has_octets=bint)
    cpdef merge(self, Segment segment)

    @cython.locals(newer="long long")
    cdef _merge_ack(self, Segment segment, long long length)

    @cython.locals(key=bytes)
    cpdef encode(self, bytearray body, Py_ssize_t at)

    @cython.locals(scale=int)
    cpdef decode(self, const unsigned char[::1] body, Py_ssize_t at)
