"""cdefs for segment.py"""

cimport cython

from . cimport octets

cdef int _OK
cdef int _TRUNCATED
cdef int _NOT_IP
cdef int _FRAGMENT
cdef int _NOT_TCP
cdef int _BAD_HEADER
cdef int _BAD_OPTIONS
cdef int _BAD_EXTENSIONS
cdef int _LAND
cdef int _FLAG_SYN
cdef int _FLAG_URG
cdef int _TCP
cdef int _MAX_PACKET
cdef int _OPTION_END
cdef int _OPTION_NOP
cdef int _OPTION_MSS
cdef int _OPTION_WINDOW_SCALE
cdef int _MAX_WINDOW_SCALE
cdef int _IPV6_HOP_BY_HOP
cdef int _IPV6_ROUTING
cdef int _IPV6_DESTINATION
cdef int _IPV6_FRAGMENT
cdef int _MAX_EXTENSIONS


@cython.final
cdef class Segment:
    cdef public bytes key
    cdef public unsigned int seq
    cdef public unsigned int ack
    cdef public int flags
    cdef public int window
    cdef public int urgent
    cdef public int mss
    cdef public int window_scale
    cdef public Py_ssize_t ip_start
    cdef public Py_ssize_t tcp_start
    cdef public Py_ssize_t payload_start
    cdef public Py_ssize_t payload_len
    cdef public Py_ssize_t captured_len
    cdef public double captured_at


@cython.locals(held=Py_ssize_t, version=int)
cpdef int parse_segment(Segment segment, const unsigned char[::1] buffer, Py_ssize_t start=*, Py_ssize_t size=*) except -1

@cython.locals(header_len=Py_ssize_t, total_len=Py_ssize_t)
cdef int _parse_ipv4(Segment segment, const unsigned char[::1] buffer, Py_ssize_t start, Py_ssize_t size) except -1

@cython.locals(next_header=int, extensions=int, offset=Py_ssize_t, total_len=Py_ssize_t)
cdef int _parse_ipv6(Segment segment, const unsigned char[::1] buffer, Py_ssize_t start, Py_ssize_t size) except -1

@cython.locals(header_len=Py_ssize_t, payload_start=Py_ssize_t, flags=int)
cdef int _parse_tcp(
    Segment segment,
    const unsigned char[::1] buffer,
    Py_ssize_t addresses,
    Py_ssize_t address_bytes,
    Py_ssize_t start,
    Py_ssize_t end,
    Py_ssize_t held_end,
) except -1

@cython.locals(end=Py_ssize_t, tcp_len=Py_ssize_t, address_bytes=Py_ssize_t, pseudo=long)
cpdef bint are_checksums_valid(Segment segment, const unsigned char[::1] buffer) except *

cdef bint _is_zero(long total) noexcept

@cython.locals(kind=int, length=int)
cdef int _parse_syn_options(
    Segment segment, const unsigned char[::1] buffer, Py_ssize_t offset, Py_ssize_t end
) except -1
