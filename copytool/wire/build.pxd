"""cdefs for build.py"""

cimport cython

from . cimport octets

cdef int _TCP
cdef bytes _MSS_AND_SCALE
cdef long _IPV4_SUM
cdef bytearray _IPV4
cdef bytearray _IPV6

@cython.locals(options=bytearray)
cpdef bytes build_options(int mss, int window_scale)

@cython.locals(
    address_bytes=Py_ssize_t,
    is_ipv4=bint,
    header=bytearray,
    packet=bytearray,
    start=Py_ssize_t,
    size=Py_ssize_t,
    tcp_len=Py_ssize_t,
    address_sum=long,
)
cpdef bytearray build_packet(
    bytes key,
    unsigned int seq,
    unsigned int ack,
    unsigned int flags,
    unsigned int window,
    bytes options,
    bytes payload,
    unsigned int urgent,
)

cdef unsigned int _folded(unsigned long total) noexcept

@cython.locals(start=Py_ssize_t)
cpdef finish_checksum(bytearray packet)
