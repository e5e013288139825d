"""cdefs for connection.py"""

cimport cython

from .frames cimport FrameReader

cdef int RECORDS


cdef class LinkEnd:
    cdef public bint established
    cdef public str closed_because
    cdef public str peer_version
    cdef readonly FrameReader _reader
    cdef bytearray _outgoing
    cdef readonly double _heard_at

    cpdef bytearray data_to_send(self)
    cpdef Py_ssize_t waiting_bytes(self) except -1
    cpdef close(self, str reason)
    cpdef double silent_for(self, double now) except? -1
    cdef _take_in(self, bytes data, double now)
    cdef _greeted(self, double now)
    cdef _send(self, bytes frame)
    cdef _check_alive(self, double now)


cdef class ClientEnd(LinkEnd):
    cdef double _pinged_at

    cpdef note_progress(self, double now)

    @cython.locals(reader=FrameReader, kind=int, bodies=list)
    cpdef list receive_data(self, bytes data, double now)

    cpdef double next_timer(self) except? -1
    cpdef handle_timer(self, double now)
    cdef bint _take(self, int kind, bytes body, list bodies) except -1
    cdef bint _control(self, int kind, bytes body, double now) except -1


cdef class CopyEnd(ClientEnd):
    pass


cdef class ServerEnd(LinkEnd):
    cdef public bint refused
    cdef bint _has_hello
    cdef bint _decided

    @cython.locals(reader=FrameReader, kind=int, bodies=list)
    cpdef list receive_data(self, bytes data, double now)

    cpdef double next_timer(self) except? -1
    cpdef handle_timer(self, double now)
    cdef bint _take(self, int kind, bytes body, list bodies) except -1
    cdef _hello(self, dict hello)
    cdef _read_hello(self, dict hello)


cdef class InterceptEnd(ServerEnd):
    cdef public object share
