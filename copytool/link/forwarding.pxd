"""cdefs for forwarding.py"""

cimport cython

from ..wire cimport octets
from .connection cimport ClientEnd, ServerEnd

cdef Py_ssize_t _HEAD_BYTES
cdef unsigned int _LENGTH
cdef Py_ssize_t _FRAME_HEAD_BYTES
cdef Py_ssize_t _AT_ONCE_BYTES


@cython.locals(at=Py_ssize_t, size=Py_ssize_t)
cpdef check_packets(const unsigned char[::1] body)


cdef class ForwardEnd(ClientEnd):
    cdef Py_ssize_t _max_bytes
    cdef object _frames
    cdef Py_ssize_t _frames_bytes
    cdef public long long forwarded
    cdef public long long lost

    cpdef bint has_room(self) except -1
    cpdef Py_ssize_t waiting_bytes(self) except -1

    @cython.locals(outgoing=bytearray)
    cpdef bytearray data_to_send(self)

    cdef _queue(self, frame)
    cpdef bytearray begin(self)
    cpdef finish(self, bytearray frame, Py_ssize_t count)
    cdef bint _take(self, int kind, bytes body, list bodies) except -1


cdef class FeedEnd(ServerEnd):
    cdef public list services
    cdef public list states

    cdef bint _take(self, int kind, bytes body, list bodies) except -1
