/*
 * handover.h: how far apart two processors are.
 */
#ifndef BENCH_HANDOVER_H
#define BENCH_HANDOVER_H

/* Nanoseconds from one thread's store of a word until another thread sees it, by a thousand or two that two threads
 * pass to and fro. Takes less than a millisecond, unless they share a processor. */
double handover_ns(void);

#endif
