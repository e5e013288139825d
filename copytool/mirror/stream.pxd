"""cdefs for stream.py"""

cimport cython

from ..wire cimport octets
from ..wire cimport seq as serial
from ..wire.segment cimport Segment

cdef int ACK
cdef int FIN
cdef int PSH
cdef int SYN
cdef int _URGENT
cdef int _PUSHED
cdef int _FULL_SEGMENT
cdef long long _MAX_AHEAD


@cython.final
cdef class ClientStream:
    cdef long long _fin_seq
    cdef list _held
    cdef long long _response_base
    cdef long long _urgent_end
    cdef public long long duplicate_bytes
    cdef public long long fin_seen
    cdef public long long held_bytes
    cdef public long long seen
    cdef public long long unread_bytes
    cdef unsigned int _highest
    cdef public unsigned int next_seq
    cdef public bint finished

    cpdef bint has_hole(self) noexcept
    cpdef long long missing_bytes(self) noexcept
    cpdef Py_ssize_t held_pieces(self) noexcept

    @cython.locals(seen="long long", pieces=list, length=Py_ssize_t, seq="unsigned int", inside=Py_ssize_t, pushed=bint, marks=int)
    cpdef list receive(self, Segment segment, const unsigned char[::1] buffer)

    cpdef note_sent(self, unsigned int end)
    cdef _note_urgent(self, unsigned int end)

    @cython.locals(newer="long long")
    cpdef long long update_seen(self, Segment segment) noexcept

    @cython.locals(ahead="long long")
    cdef _insert(
        self,
        unsigned int seq,
        const unsigned char[::1] buffer,
        Py_ssize_t start,
        Py_ssize_t size,
        long long seen,
        int marks,
        double at,
        list pieces,
    )

    @cython.locals(held_seq="unsigned int", held=bytes, held_seen="long long", held_marks=int, ahead="long long")
    cdef _deliver_held(self, list waiting, double at, list pieces)

    @cython.locals(size="long long")
    cdef _deliver(self, bytes data, long long seen, int marks, double at, list pieces)
