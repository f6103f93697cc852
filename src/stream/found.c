/*
 * found.c: gives each thread that finds entries a line of the table, and takes it back at thread exit.
 *
 * A line that is not given back, because the library was unloaded or had no key, is the next thread's that lives at the
 * same address: what the last one left there is as true as what it would have left itself.
 */
#include "stream/found.h"

enum { CHOICES = 8 };

struct found found_lines[FOUND_LINES];

static pthread_key_t exit_key;
static pthread_once_t exit_key_once = PTHREAD_ONCE_INIT;
static int exit_key_error;

static void give_back(void *line)
{
	atomic_store_explicit(&((struct found *)line)->owner, 0, memory_order_release);
}

static void create_exit_key(void)
{
	exit_key_error = pthread_key_create(&exit_key, give_back);
}

/* A library that is unloaded must leave no destructor behind. */
__attribute__((destructor)) static void delete_exit_key(void)
{
	pthread_once(&exit_key_once, create_exit_key);
	if (!exit_key_error)
		pthread_key_delete(exit_key);
}

static struct found *choice(uintptr_t thread, unsigned i)
{
	return &found_lines[(size_t)(found_first_choice(thread) - found_lines + i) % FOUND_LINES];
}

static bool take_line(struct found *line, uintptr_t thread)
{
	uintptr_t nobody = 0;

	if (atomic_load_explicit(&line->owner, memory_order_relaxed) ||
	    !atomic_compare_exchange_strong_explicit(&line->owner, &nobody, thread, memory_order_acquire,
						     memory_order_relaxed))
		return false;
	if (!pthread_setspecific(exit_key, line))
		return true;
	give_back(line);
	return false;
}

struct found *found_line_elsewhere(uintptr_t thread, bool take)
{
	for (unsigned i = 0; i < CHOICES; i++)
		if (found_owns(choice(thread, i), thread))
			return choice(thread, i);
	if (!take)
		return NULL;
	pthread_once(&exit_key_once, create_exit_key);
	for (unsigned i = 0; !exit_key_error && i < CHOICES; i++)
		if (take_line(choice(thread, i), thread))
			return choice(thread, i);
	return NULL;
}
