/*
 * machine.c: dying at an operation; a clock and random bytes that a seed repeats.
 */
#include "histories/machine.h"

#include "cut/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { DIES_AT = CUT_STORE | CUT_FLUSH | CUT_FENCE | CUT_SYNC | CUT_REDIRTY };

static uint64_t clock_ns;

int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
ssize_t __wrap_getrandom(void *to, size_t bytes, unsigned flags);

/* Only the time that is written to media; what is slept for is real. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	if (clock != CLOCK_REALTIME)
		return __real_clock_gettime(clock, time);
	clock_ns += 1000003;
	*time = (struct timespec){.tv_sec = (time_t)(clock_ns / 1000000000), .tv_nsec = (long)(clock_ns % 1000000000)};
	return 0;
}

ssize_t __wrap_getrandom(void *to, size_t bytes, unsigned flags)
{
	(void)flags;
	memset(to, 0x5a, bytes);
	return (ssize_t)bytes;
}

void machine_set_clock(uint64_t ns)
{
	clock_ns = ns;
}

static const char *kind_name(enum cut_kind kind)
{
	switch (kind) {
	case CUT_STORE:
		return "store";
	case CUT_FLUSH:
		return "flush";
	case CUT_FENCE:
		return "fence";
	case CUT_SYNC:
		return "sync";
	default:
		return "redirty";
	}
}

static void count_down(struct cut *cut, const struct cut_event *event, void *context)
{
	struct machine *machine = context;

	if (event->after || machine->dead || --machine->countdown)
		return;
	machine->dead = true;
	cut_copy(machine->later, cut);
	snprintf(machine->where, sizeof(machine->where), " in front of a %s of %zu bytes at %zu",
		 kind_name(event->kind), event->bytes, event->off);
	machine->at_death(machine->context);
}

void machine_init(struct machine *machine, size_t bytes, enum medium_granularity granularity)
{
	*machine = (struct machine){.now = cut_new(bytes, granularity), .later = cut_new(bytes, granularity)};
}

void machine_free(struct machine *machine)
{
	cut_delete(machine->now);
	cut_delete(machine->later);
}

void machine_reset(struct machine *machine)
{
	static const char zeros[1 << 16];
	size_t bytes = cut_medium(machine->now)->size;

	if (bytes > sizeof(zeros))
		cut_die("a machine of %zu bytes", bytes);
	cut_restart(machine->now, zeros);
	machine->dead = false;
	machine->countdown = 0;
}

void machine_arm(struct machine *machine, unsigned n)
{
	machine->countdown = n;
	if (n)
		cut_hook(machine->now, DIES_AT, count_down, machine);
	else
		cut_hook(machine->now, 0, NULL, NULL);
}

void machine_die(struct machine *machine)
{
	cut_lock(machine->now);
	machine->dead = true;
	cut_copy(machine->later, machine->now);
	cut_unlock(machine->now);
	machine->where[0] = '\0';
}

void machine_bury(struct machine *machine)
{
	struct cut *doomed = machine->now;

	cut_hook(doomed, 0, NULL, NULL);
	machine->now = machine->later;
	machine->later = doomed;
	machine->dead = false;
	machine->countdown = 0;
}
