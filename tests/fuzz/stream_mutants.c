/*
 * stream_mutants.c: streams with changed bytes, by seed.
 *
 *   fuzz_stream COUNT [SEED]     COUNT mutants; the same SEED makes the same ones
 *
 * Prints one TAP line. On failure the last line names the mutant, which "fuzz_stream 1 SEED+NUMBER" makes again.
 */
#include "stream.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char mutant[64];

/* A mutant on which the library hangs ends here, too. */
static void name_mutant(int number)
{
	ssize_t written = write(2, mutant, strlen(mutant));

	(void)written;
	signal(number, SIG_DFL);
	raise(number);
}

static uint64_t splitmix(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

int main(int argc, char **argv)
{
	uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 0) : 1000;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	uint64_t opened[3] = {0};

	signal(SIGABRT, name_mutant);
	signal(SIGALRM, name_mutant);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t state = seed + i;
		uint8_t input[1 + 8 * 4];
		for (size_t b = 0; b < sizeof(input); b++)
			input[b] = (uint8_t)splitmix(&state);
		/* Mostly one to three changes, and mostly where structures are. */
		size_t commands = 1 + splitmix(&state) % (splitmix(&state) % 4 ? 3 : 8);
		for (size_t c = 0; c < commands; c++)
			if (splitmix(&state) % 2)
				input[1 + 4 * c + 1] &= 0x1f;
		snprintf(mutant, sizeof(mutant), "# mutant %llu of this seed\n", (unsigned long long)(seed + i));
		alarm(20);
		opened[fuzz_stream(input, 1 + 4 * commands)]++;
	}
	alarm(0);
	/* Both ways out must be taken, or the mutants test less than they say. */
	int fine = count < 1000 || (opened[0] > count / 100 && opened[2] > count / 100);
	printf("1..1\n%s 1 - no mutant of %llu crashes, hangs, or is changed when it is refused (%llu refused, %llu "
	       "opened)\n",
	       fine ? "ok" : "not ok", (unsigned long long)count, (unsigned long long)opened[0],
	       (unsigned long long)(opened[1] + opened[2]));
	return !fine;
}
