/*
 * header.h: the pool header, one page in front of each part that has one (docs/format/logpool.md, section 2).
 */
#ifndef LOGPOOL_HEADER_H
#define LOGPOOL_HEADER_H

#include <stdbool.h>
#include <stdint.h>

enum { UUID_BYTES = 16 };

enum header_feature {
	HEADER_CHECK_BAD_BLOCKS = 1, /* compatible */
	HEADER_SINGLEHDR = 1,        /* the others: incompatible */
	HEADER_CKSUM_2K = 2,
	HEADER_SDS = 4,
};

/* Where a header stands: the UUIDs that it and its neighbours carry. */
struct header_place {
	const uint8_t *set, *own, *previous, *next, *first;
	bool single_header;
};

/* A random UUID; 0, or -1 with errno. */
int header_new_uuid(uint8_t uuid[UUID_BYTES]);

/* Writes a valid header with a clean shutdown state into page. */
void header_build(char *page, const struct header_place *place, bool with_shutdown_state, uint64_t created_s);

/* 0 when page is a header of a log pool that this machine can use; else -1 with NOT_A_POOL and the reason. */
int header_validate(const char *page);
/* 0 when its links fit its place, whose uuids were taken from validated headers; else -1 with NOT_A_POOL. */
int header_validate_place(const char *page, const struct header_place *place);

const uint8_t *header_uuid(const char *page);
const uint8_t *header_set_uuid(const char *page);
bool header_has_shutdown_state(const char *page);
bool header_is_single(const char *page);
bool header_same_features(const char *page, const char *other);
/* An unknown read-only compatible feature: the pool may be read and not written. */
bool header_forbids_writing(const char *page);

#endif
