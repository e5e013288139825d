"""cdefs for ring.py"""

cimport cython

from ..link.collector cimport ResponseCollector
from ..mirror.engine cimport Engine
from ..wire cimport octets
from .feeding cimport feed_block, feed_frames, forward_block

cdef unsigned int _STATUS_LOSING
cdef unsigned int STATUS_KERNEL
cdef unsigned int STATUS_USER
cdef Py_ssize_t _DRAIN_LIMIT


cdef class CaptureRing:
    cdef public str interface
    cdef public object socket
    cdef public long long packets
    cdef public long long drops
    cdef public bint losing
    cdef public str problem
    cdef object _map
    cdef unsigned char[::1] _view

    cpdef bint has_packets(self) except -1


cdef class BlockRing(CaptureRing):
    cdef Py_ssize_t _block_bytes
    cdef Py_ssize_t _blocks
    cdef Py_ssize_t _current
    cdef int _intake
    cdef int _vxlan_port
    cdef public long long empty

    cpdef bint is_filling_up(self) except -1
    cpdef bint has_waiting(self, Py_ssize_t blocks) except -1
    cdef bint _is_filled(self, Py_ssize_t block) except -1

    @cython.locals(base=Py_ssize_t)
    cpdef feed(self, Engine engine, double now, on_failure, double wall_clock_ahead_s)

    @cython.locals(base=Py_ssize_t)
    cpdef Py_ssize_t forward(self, bytearray frame, double wall_clock) except -1

    @cython.locals(base=Py_ssize_t, count=Py_ssize_t)
    cpdef Py_ssize_t skip(self) except -1

    cdef _give_back(self, Py_ssize_t base)


cdef class FrameRing(CaptureRing):
    cdef Py_ssize_t _frames
    cdef Py_ssize_t _current

    @cython.locals(limit=Py_ssize_t)
    cpdef feed(self, ResponseCollector collector, on_failure)
