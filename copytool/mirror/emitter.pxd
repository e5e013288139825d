"""cdefs for emitter.py"""

cimport cython

from ..wire cimport build

cdef int SYN
cdef int _WINDOW
cdef int _DEFAULT_MSS


@cython.final
cdef class SenderCounters:
    cdef public long long acks
    cdef public long long octets
    cdef public long long packets
    cdef public long long resets
    cdef public long long retransmissions
    cdef public long long segments
    cdef public long long unacceptable


@cython.final
cdef class Emitter:
    cdef public SenderCounters counters
    cdef public list outbox

    cpdef emit(self, bytes key, int flags, unsigned int seq, unsigned int ack, bytes payload=*, unsigned int urgent=*)

    cpdef emit_burst(
        self, bytes key, int flags, unsigned int seq, unsigned int ack, bytes payload, Py_ssize_t segment_bytes
    )

    cpdef emit_syn(self, bytes key, unsigned int seq, int mss, int window_scale)

    @cython.locals(packet=bytearray, segments=Py_ssize_t)
    cdef _queue(
        self,
        bytes key,
        int flags,
        unsigned int seq,
        unsigned int ack,
        bytes options,
        bytes payload,
        unsigned int urgent,
        Py_ssize_t segment_bytes,
    )
