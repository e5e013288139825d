"""cdefs for config.py"""

cdef class MirrorConfig:
    cdef readonly int copies
    cdef readonly double ratio_percent
    cdef readonly bint dry_run
    cdef readonly bint paused
    cdef readonly double hold_limit_s
    cdef readonly double quiet_min_s
    cdef readonly double quiet_max_s
    cdef readonly double quiet_first_s
    cdef readonly double gap_timeout_s
    cdef readonly double check_after_s
    cdef readonly bint join_midstream
    cdef readonly double join_quiet_s
    cdef readonly double idle_timeout_s
    cdef readonly double close_timeout_s
    cdef readonly long long max_sessions
    cdef readonly long long session_buffer_bytes
    cdef readonly long long total_buffer_bytes
    cdef readonly int syn_retries
    cdef readonly int data_retries
    cdef readonly int mtu_bytes
    cdef readonly double delayed_ack_s
