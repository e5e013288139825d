"""cdefs for asleep.py"""

cimport cython

from .common cimport Common
from .congestion cimport Congestion
from .path cimport SegmentSize
from .release cimport ReleaseRule
from .responses cimport ResponseSide
from .rtt cimport RttEstimator
from .send_buffer cimport SendBuffer
from .send_window cimport SendWindow
from .sender cimport Sender

cdef int OPEN
cdef double NEVER


@cython.final
cdef class Awake:
    cdef public ReleaseRule rule
    cdef public Sender sender


# The types are as small as the values: a window has 30 bits, and a congestion window and what a MSS can be have less.
@cython.final
cdef class Asleep:
    cdef double _answered_at
    cdef long long _base_received
    cdef long long _base_seen
    cdef double _began_at
    cdef double _longest_gap_s
    cdef long long _received
    cdef long long _recover
    cdef double _released_at
    cdef long long _released_at_received
    cdef double _smoothed_s
    cdef long long _turn_seen
    cdef long long _una
    cdef double _variation_s
    cdef int _congestion_window
    cdef unsigned int _irs
    cdef unsigned int _iss
    cdef int _largest_window
    cdef int _threshold
    cdef int _window_octets
    cdef unsigned short _congestion_mss
    cdef unsigned short _target_mss
    cdef signed char _window_scale
    cdef unsigned char _differed
    cdef unsigned char _doublings
    cdef unsigned char _finished
    cdef unsigned char _in_write
    cdef unsigned char _went_alone

    @cython.locals(sender=Sender, rule=ReleaseRule)
    cdef bint keep(self, Awake awake, long long turns) except *

    @cython.locals(awake=Awake)
    cdef Awake wake(self, Common common, bytes key, long long turns)

    cdef Awake _new_parts(self, Common common, bytes key)

    @cython.locals(una="long long", buffer=SendBuffer, responses=ResponseSide, size=SegmentSize)
    cdef bint _is_sender_at_rest(self, Sender sender) except *

    cdef bint _is_rule_at_rest(self, ReleaseRule rule, Sender sender, long long turns) except *

    @cython.locals(congestion=Congestion, window=SendWindow, responses=ResponseSide, rtt=RttEstimator)
    cdef _keep_sender(self, Sender sender)

    @cython.locals(congestion=Congestion, window=SendWindow, responses=ResponseSide, rtt=RttEstimator)
    cdef _give_to_sender(self, Sender sender, bytes key)

    cdef _keep_rule(self, ReleaseRule rule)

    cdef _give_to_rule(self, ReleaseRule rule, long long turns)
