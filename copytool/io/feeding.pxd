"""cdefs for feeding.py"""

cimport cython

from ..link.collector cimport ResponseCollector
from ..mirror.engine cimport Engine
from ..wire cimport octets

cdef unsigned int _STATUS_KERNEL
cdef unsigned int _STATUS_USER
cdef unsigned int _STATUS_CHECKED
cdef int _PACKET_HOST
cdef double _OLDEST_S


@cython.locals(
    count=Py_ssize_t, offset=Py_ssize_t, captured=Py_ssize_t, start=Py_ssize_t, is_checked=bint, captured_at=double
)
cpdef feed_block(
    unsigned char[::1] view, Py_ssize_t base, Engine engine, double now, on_failure, double wall_clock_ahead_s=*
)


@cython.locals(frames=Py_ssize_t, offset=Py_ssize_t, status="unsigned int", captured=Py_ssize_t, start=Py_ssize_t)
cpdef Py_ssize_t feed_frames(
    unsigned char[::1] view,
    Py_ssize_t frame_bytes,
    Py_ssize_t current,
    ResponseCollector collector,
    Py_ssize_t limit,
    on_failure,
) except -1
