"""The functions of seq.py in C, for the modules that are compiled."""


cdef inline unsigned int seq_add(long long seq, long long count) noexcept:
    return <unsigned int>(seq + count)


cdef inline long long seq_diff(long long a, long long b) noexcept:
    return <int><unsigned int>(a - b)


cdef inline bint seq_lt(long long a, long long b) noexcept:
    return <int><unsigned int>(a - b) < 0
