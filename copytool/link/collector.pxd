"""cdefs for collector.py"""

cimport cython

from ..wire cimport octets
from ..wire cimport segment as tcp
from ..wire.segment cimport Segment
from .records cimport ResponseRecord

cdef int FIN
cdef int RST
cdef Py_ssize_t RECORD_SIZE


@cython.final
cdef class _Peer:
    cdef public dict open
    cdef public dict pending
    cdef public object share

    cpdef remember(self, bytes key, ResponseRecord record)


cdef class ResponseCollector:
    cdef object _absent
    cdef dict _peers
    cdef Segment _segment
    cdef readonly dict counters

    @cython.locals(segment=Segment, counters=dict, reason=int, peer=_Peer)
    cpdef receive_packet(
        self, const unsigned char[::1] buffer, bint is_checked=*, Py_ssize_t start=*, Py_ssize_t size=*
    )

    @cython.locals(peer=_Peer, owner=_Peer)
    cdef _Peer _peer_with(self, bytes key)

    @cython.locals(peer=_Peer)
    cdef _Peer _peer_of(self, bytes mirror)

    @cython.locals(key=bytes, record=ResponseRecord)
    cdef _merge(self, _Peer peer, Segment segment)

    @cython.locals(peer=_Peer)
    cpdef bint has_records(self, owner) except *

    @cython.locals(peer=_Peer, pending=dict, taken=dict, body=bytearray, at=Py_ssize_t, key=bytes, record=ResponseRecord)
    cpdef bytearray take_records(self, owner)
