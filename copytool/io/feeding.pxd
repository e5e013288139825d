"""cdefs for feeding.py"""

cimport cython

from ..link.collector cimport ResponseCollector
from ..mirror.engine cimport Engine
from ..wire cimport octets, tunnel

cdef unsigned int _STATUS_KERNEL
cdef unsigned int _STATUS_USER
cdef unsigned int _STATUS_NOT_READY
cdef unsigned int _STATUS_CHECKED
cdef int _PACKET_HOST
cdef int _OWN
cdef int _SPAN
cdef int _TUNNELS
cdef Py_ssize_t _HEAD_BYTES
cdef unsigned int _CHECKED
cdef unsigned int _LENGTH
cdef double _OLDEST_S


@cython.locals(
    count=Py_ssize_t,
    offset=Py_ssize_t,
    captured=Py_ssize_t,
    start=Py_ssize_t,
    is_checked=bint,
    captured_at=double,
    empty=Py_ssize_t,
    inner=Py_ssize_t,
)
cpdef Py_ssize_t feed_block(
    unsigned char[::1] view,
    Py_ssize_t base,
    Engine engine,
    double now,
    on_failure,
    double wall_clock_ahead_s=*,
    int intake=*,
    int vxlan_port=*,
) except -1


@cython.locals(
    count=Py_ssize_t,
    offset=Py_ssize_t,
    packets=Py_ssize_t,
    captured=Py_ssize_t,
    start=Py_ssize_t,
    is_checked=bint,
    captured_at=double,
    age_s=double,
)
cpdef Py_ssize_t forward_block(unsigned char[::1] view, Py_ssize_t base, bytearray frame, double wall_clock) except -1


@cython.locals(
    at=Py_ssize_t, size=Py_ssize_t, lost="long long", word="unsigned int", age="unsigned int",
    captured=Py_ssize_t,
)
cpdef long long feed_packets(const unsigned char[::1] body, Engine engine, double now, on_failure) except -1


@cython.locals(frames=Py_ssize_t, offset=Py_ssize_t, status="unsigned int", captured=Py_ssize_t, start=Py_ssize_t)
cpdef Py_ssize_t feed_frames(
    unsigned char[::1] view,
    Py_ssize_t frame_bytes,
    Py_ssize_t current,
    ResponseCollector collector,
    Py_ssize_t limit,
    on_failure,
) except -1
