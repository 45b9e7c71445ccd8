/* The kernel's random numbers, from a seed, and a calendar that stands still: loaded before libc. */

#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static _Thread_local uint64_t state;

/* SplitMix64. Each thread begins anew: which of them comes first is not ours to say. */
static uint64_t next(void) {
    if (state == 0) state = strtoull(getenv("SIMULATION_SEED"), NULL, 10) + 1;
    uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

ssize_t getrandom(void *buffer, size_t length, unsigned int flags) {
    (void)flags;
    for (size_t at = 0; at < length; at += 8) {
        uint64_t number = next();
        size_t rest = length - at;
        memcpy((char *)buffer + at, &number, rest < 8 ? rest : 8);
    }
    return (ssize_t)length;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (clock != CLOCK_REALTIME) return (int)syscall(SYS_clock_gettime, clock, time);
    time->tv_sec = 1800000000;
    time->tv_nsec = 0;
    return 0;
}
