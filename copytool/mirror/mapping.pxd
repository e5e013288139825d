"""cdefs for mapping.py"""

cimport cython

cdef unsigned long long _MASK32
cdef unsigned long long _PORT_FACTOR
cdef unsigned long long _FACTOR_1
cdef unsigned long long _FACTOR_2
cdef int _FIRST_PORT
cdef int _PORTS
cdef int _STRIDE
cdef int _MAX_TRIES


@cython.locals(value="unsigned long long", word="unsigned long long", start=Py_ssize_t, at=Py_ssize_t)
cpdef unsigned int flow_hash(bytes address, unsigned int port)


@cython.final
cdef class ClientNetwork:
    cdef dict _members
    cdef dict _ranges
    cdef dict _totals

    @cython.locals(mirror=bytes, key=bytes)
    cpdef bytes choose(self, bytes client, int port, int copy, bytes target, int target_port, object taken)

    cdef bytes _address(self, object index, int size)
