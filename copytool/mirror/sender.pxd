"""cdefs for sender.py"""

cimport cython

from ..link.records cimport ResponseRecord
from ..wire cimport seq as serial
from .common cimport Common
from .config cimport MirrorConfig
from .congestion cimport Congestion
from .emitter cimport Emitter, SenderCounters
from .path cimport SegmentSize
from .responses cimport ResponseSide
from .rtt cimport RttEstimator
from .send_buffer cimport SendBuffer
from .send_window cimport SendWindow

cdef double NEVER
cdef int ACK
cdef int FIN
cdef int PSH
cdef int RST
cdef int SYN
cdef int URG
cdef Py_ssize_t MAX_BURST_BYTES
cdef int _SYN_SENT
cdef int _OPEN
cdef int _CLOSED
cdef int _DEFAULT_MSS
cdef double _SYN_AGAIN_S
cdef int _TIMEOUTS_PER_SIZE
cdef int _STALLED_TIMES
cdef int _MAX_BACKOFF


@cython.final
cdef class Sender:
    cdef SendBuffer _buffer
    cdef MirrorConfig _config
    cdef Congestion _congestion
    cdef SenderCounters _counters
    cdef Emitter _emitter
    cdef int _head_timeouts
    cdef unsigned int _iss
    cdef bytes _key
    cdef int _mss
    cdef long long _next
    cdef double _persist_at
    cdef int _retries
    cdef double _rto_at
    cdef SegmentSize _segment_size
    cdef long long _sent_to
    cdef long long _una
    cdef SendWindow _window
    cdef public long long delivered
    cdef public str failure
    cdef public str reason
    cdef public ResponseSide responses
    cdef public RttEstimator rtt
    cdef public int state

    cpdef long long buffered(self) noexcept
    cpdef bint fin_acked(self) noexcept
    cpdef open(self, double now)
    cpdef write(self, bytes octets, bint urgent=*)
    cpdef finish(self)
    cpdef abort(self)

    @cython.locals(data_end="long long", size="long long")
    cpdef transmit(self, double now)

    cpdef double next_timer(self) except? -1
    cpdef handle_timer(self, double now)
    cpdef expedite(self, double now)
    cpdef receive(self, ResponseRecord record, double now)

    @cython.locals(room="long long", segment_bytes="long long", size="long long")
    cdef Py_ssize_t _usable(self, long long wanted) except? -1

    @cython.locals(
        position="long long",
        segment_bytes="long long",
        end="long long",
        is_urgent=bint,
        flags=int,
        payload=bytes,
        seq="unsigned int",
        segments="long long",
    )
    cdef _send_data(self, long long size, long long data_end, double now)

    cdef _advance(self, long long end, double now)

    @cython.locals(ack="unsigned int", urgent="unsigned int")
    cdef _emit(self, int flags, long long position, bytes payload=*)

    cdef _emit_syn(self)
    cdef _send_ack(self)
    cdef _retransmission_timeout(self, double now)
    cdef bint _is_stalled(self) except *
    cdef _try_smaller(self)

    @cython.locals(resume="long long", data_end="long long", size="long long")
    cdef _retransmit_head(self, double now)

    @cython.locals(data_end="long long", size="long long")
    cdef _probe_window(self, double now)

    cdef _receive_in_syn_sent(self, ResponseRecord record, double now)
    cdef _open(self, ResponseRecord record, double now)

    @cython.locals(responses=ResponseSide, follows_data=bint)
    cdef bint _accept_reset(self, ResponseRecord record) except *

    cdef _receive_open(self, ResponseRecord record, double now)

    @cython.locals(acked="long long", window="long long")
    cdef _receive_ack(self, ResponseRecord record, double now)

    cdef _reopen(self, long long una)

    @cython.locals(octets="long long")
    cdef _take_acknowledged(self, long long acked, double now)

    cdef _drop_acknowledged(self, long long acked)
    cdef _count_duplicates(self, int count, double now)
    cdef _close(self, str failure, str reason)
