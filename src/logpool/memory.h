/*
 * memory.h: the allocator that pmemlog_set_funcs can replace. For create, open, close and check; nothing else
 * allocates.
 */
#ifndef LOGPOOL_MEMORY_H
#define LOGPOOL_MEMORY_H

#include <stddef.h>

/* NULL with ENOMEM and a message on failure. */
void *memory_new(size_t bytes); /* zeroed */
void *memory_resize(void *old, size_t bytes);
char *memory_text(const char *text);
void memory_free(void *memory);

/* NULL restores the default of each. */
void memory_set_functions(void *(*allocate)(size_t), void (*release)(void *), void *(*resize)(void *, size_t),
			  char *(*duplicate)(const char *));

#endif
