"""cdefs for emitter.py"""

cimport cython

from ..wire cimport build

cdef int _WINDOW
cdef int _DEFAULT_MSS


@cython.final
cdef class SenderCounters:
    cdef public long long acks
    cdef public long long packets
    cdef public long long resets
    cdef public long long retransmissions
    cdef public long long segments
    cdef public long long unacceptable


@cython.final
cdef class Emitter:
    cdef bytes _key
    cdef int _mss
    cdef list _outbox
    cdef int _window_scale
    cdef public SenderCounters counters

    cpdef emit(self, int flags, unsigned int seq, unsigned int ack, bytes payload=*, unsigned int urgent=*)
    cpdef emit_burst(self, int flags, unsigned int seq, unsigned int ack, bytes payload, Py_ssize_t segment_bytes)
    cpdef emit_syn(self, int flags, unsigned int seq)

    @cython.locals(packet=bytearray)
    cdef _queue(
        self,
        int flags,
        unsigned int seq,
        unsigned int ack,
        bytes options,
        bytes payload,
        unsigned int urgent,
        Py_ssize_t segment_bytes,
    )
