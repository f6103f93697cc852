/*
 * budget.h: how much a search among entry headers may read.
 *
 * A search looks at every aligned place, and a header that can be trusted makes it read the data that the header
 * claims. What a library wrote lies one behind the other, and what earlier openings dropped in a few layers below it,
 * so that together the claims are a few times what is searched. In a file that somebody made up they can lie inside one
 * another, and reading them all takes the square of its size.
 */
#ifndef STREAM_BUDGET_H
#define STREAM_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define BUDGET_TIMES UINT64_C(32)
#define BUDGET_BYTES (UINT64_C(1) << 20)

struct budget {
	uint64_t searched, read; /* bytes: all places that are looked at; data that headers found there claim */
};

/* So many bytes are going to be read. */
static inline void budget_spend(struct budget *budget, uint64_t bytes)
{
	budget->read += bytes;
}

static inline bool budget_is_spent(const struct budget *budget)
{
	return budget->read > BUDGET_TIMES * budget->searched + BUDGET_BYTES;
}

#endif
