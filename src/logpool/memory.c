/*
 * memory.c: the allocator that pmemlog_set_funcs can replace.
 *
 * Threads  the functions may be replaced only while no pool is open and no other call runs, as the manual says.
 */
#include "logpool/memory.h"

#include "base/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void *(*allocate_fn)(size_t) = malloc;
static void (*release_fn)(void *) = free;
static void *(*resize_fn)(void *, size_t) = realloc;
static char *(*duplicate_fn)(const char *) = strdup;

void memory_set_functions(void *(*allocate)(size_t), void (*release)(void *), void *(*resize)(void *, size_t),
			  char *(*duplicate)(const char *))
{
	allocate_fn = allocate ? allocate : malloc;
	release_fn = release ? release : free;
	resize_fn = resize ? resize : realloc;
	duplicate_fn = duplicate ? duplicate : strdup;
}

static void *checked(void *memory, size_t bytes)
{
	if (!memory)
		error_set(ENOMEM, "no memory for %zu bytes", bytes);
	return memory;
}

void *memory_new(size_t bytes)
{
	void *memory = checked(allocate_fn(bytes), bytes);

	return memory ? memset(memory, 0, bytes) : NULL;
}

void *memory_resize(void *old, size_t bytes)
{
	return checked(resize_fn(old, bytes), bytes);
}

char *memory_text(const char *text)
{
	return checked(duplicate_fn(text), strlen(text) + 1);
}

void memory_free(void *memory)
{
	if (memory)
		release_fn(memory);
}
