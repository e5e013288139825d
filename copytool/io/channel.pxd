"""cdefs for channel.py"""

cimport cython

from ..link.connection cimport LinkEnd


cdef class PlainChannel:
    cdef public object socket
    cdef public bint is_encrypted
    cdef public str peer_name

    cpdef receive(self)

    @cython.locals(data=bytearray)
    cpdef bint send_pending(self, LinkEnd end) except -1

    cpdef close(self)


cdef class TlsChannel:
    cdef public object socket
    cdef public bint is_encrypted
    cdef public str peer_name
    cdef bint _is_server
    cdef object _incoming
    cdef object _outgoing
    cdef object _tls
    cdef bytearray _encrypted

    cpdef receive(self)
    cdef _shake_hands(self)

    @cython.locals(received=bytearray)
    cdef _decrypt(self)

    @cython.locals(data=bytearray)
    cpdef bint send_pending(self, LinkEnd end) except -1

    cpdef close(self)


cdef bint _send(sock, bytearray data) except -1
