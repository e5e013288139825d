"""cdefs for tunnel.py"""

cimport cython

from . cimport octets

cdef Py_ssize_t _SHORTEST
cdef int _UDP
cdef int _GRE
cdef int _MORE_OR_LATER_FRAGMENT
cdef int _VXLAN_HAS_ID
cdef int _GRE_CHECKSUM
cdef int _GRE_ROUTING
cdef int _GRE_KEY
cdef int _GRE_SEQUENCE
cdef int _GRE_VERSION
cdef int _ETHERNET
cdef int _ERSPAN_1_OR_2
cdef int _ERSPAN_3
cdef int _ERSPAN_IP
cdef int _IPV4
cdef int _IPV6
cdef int _VLAN_TAG
cdef int _SERVICE_TAG
cdef int _MAX_TAGS


@cython.locals(end=Py_ssize_t, at=Py_ssize_t, protocol=int)
cpdef Py_ssize_t inner_offset(
    const unsigned char[::1] buffer, Py_ssize_t start, Py_ssize_t size, unsigned int vxlan_port
) except -1

@cython.locals(flags=int, kind=int)
cdef Py_ssize_t _in_gre(const unsigned char[::1] buffer, Py_ssize_t at, Py_ssize_t end) except -1

@cython.locals(frame_type=int, has_subheader=bint)
cdef Py_ssize_t _in_erspan_3(const unsigned char[::1] buffer, Py_ssize_t at, Py_ssize_t end) except -1

@cython.locals(kind=int)
cdef Py_ssize_t _in_ethernet(const unsigned char[::1] buffer, Py_ssize_t at, Py_ssize_t end) except -1
