/*
 * header.c: builds and judges pool headers. Works on a copy of the page, never on mapped media.
 */
#include "logpool/header.h"

#include "base/error.h"
#include "logpool/format.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>
#include <sys/types.h>

enum {
	SIGNATURE_OFF = 0,
	MAJOR_OFF = 8,
	COMPATIBLE_OFF = 12,
	INCOMPATIBLE_OFF = 16,
	READ_ONLY_COMPATIBLE_OFF = 20,
	SET_UUID_OFF = 24,
	OWN_UUID_OFF = 40,
	PREVIOUS_UUID_OFF = 56,
	NEXT_UUID_OFF = 72,
	PREVIOUS_REPLICA_OFF = 88,
	NEXT_REPLICA_OFF = 104,
	CREATED_OFF = 120,
	ALIGNMENT_OFF = 128,
	CLASS_OFF = 136,
	ENCODING_OFF = 137,
	RESERVED_OFF = 138,
	MACHINE_OFF = 142,
	CHECKSUM_OFF = 4088,

	MAJOR_VERSION = 1,
	CLASS_64_BIT = 2,
	ENCODING_LITTLE = 1,
	ENCODING_BIG = 2,
	CHECKED_2K_BYTES = 2048,
};

static const char signature[8] = "PMEMLOG";

#if defined(__x86_64__)
enum { MACHINE = 62 };
#elif defined(__aarch64__)
enum { MACHINE = 183 };
#elif defined(__powerpc64__)
enum { MACHINE = 21 };
#elif defined(__riscv) && __riscv_xlen == 64
enum { MACHINE = 243 };
#elif defined(__loongarch64)
enum { MACHINE = 258 };
#else
#error "the log pool format has no number for this machine"
#endif

/* Where a type begins in a struct behind one char is its alignment. */
#define NIBBLE(number, type)                                                                                           \
	((uint64_t)(offsetof(                                                                                          \
			    struct {                                                                                   \
				    char before;                                                                       \
				    type member;                                                                       \
			    },                                                                                         \
			    member) -                                                                                  \
		    1)                                                                                                 \
	 << 4 * (number))

static uint64_t alignment_descriptor(void)
{
	return NIBBLE(0, char) | NIBBLE(1, short) | NIBBLE(2, int) | NIBBLE(3, long) | NIBBLE(4, long long) |
	       NIBBLE(5, size_t) | NIBBLE(6, off_t) | NIBBLE(7, float) | NIBBLE(8, double) | NIBBLE(9, long double) |
	       NIBBLE(10, void *);
}

static uint64_t checksum(const char *page)
{
	bool half = le32_load(page + INCOMPATIBLE_OFF) & HEADER_CKSUM_2K;

	return format_checksum(page, HEADER_BYTES, CHECKSUM_OFF, half ? CHECKED_2K_BYTES : HEADER_BYTES);
}

int header_new_uuid(uint8_t uuid[UUID_BYTES])
{
	if (getrandom(uuid, UUID_BYTES, 0) != UUID_BYTES)
		return error_system("random bytes for a UUID");
	/* Version 4; bytes 6 and 7 are one little-endian u16, so the version is in the second. */
	uuid[7] = (uint8_t)(0x40 | (uuid[7] & 0x0f));
	uuid[8] = (uint8_t)(0x80 | (uuid[8] & 0x3f));
	return 0;
}

void header_build(char *page, const struct header_place *place, bool with_shutdown_state, uint64_t created_s)
{
	uint32_t incompatible = HEADER_CKSUM_2K | (place->single_header ? (uint32_t)HEADER_SINGLEHDR : 0) |
				(with_shutdown_state ? (uint32_t)HEADER_SDS : 0);

	memset(page, 0, HEADER_BYTES);
	memcpy(page + SIGNATURE_OFF, signature, sizeof(signature));
	le32_store(page + MAJOR_OFF, MAJOR_VERSION);
	le32_store(page + COMPATIBLE_OFF, HEADER_CHECK_BAD_BLOCKS);
	le32_store(page + INCOMPATIBLE_OFF, incompatible);
	memcpy(page + SET_UUID_OFF, place->set, UUID_BYTES);
	memcpy(page + OWN_UUID_OFF, place->own, UUID_BYTES);
	memcpy(page + PREVIOUS_UUID_OFF, place->previous, UUID_BYTES);
	memcpy(page + NEXT_UUID_OFF, place->next, UUID_BYTES);
	memcpy(page + PREVIOUS_REPLICA_OFF, place->first, UUID_BYTES);
	memcpy(page + NEXT_REPLICA_OFF, place->first, UUID_BYTES);
	le64_store(page + CREATED_OFF, created_s);
	le64_store(page + ALIGNMENT_OFF, alignment_descriptor());
	page[CLASS_OFF] = CLASS_64_BIT;
	page[ENCODING_OFF] = __BYTE_ORDER == __LITTLE_ENDIAN ? ENCODING_LITTLE : ENCODING_BIG;
	le16_store(page + MACHINE_OFF, MACHINE);
	le64_store(page + CHECKSUM_OFF, checksum(page));
}

int header_validate(const char *page)
{
	uint32_t incompatible = le32_load(page + INCOMPATIBLE_OFF);
	uint32_t known = HEADER_SINGLEHDR | HEADER_CKSUM_2K | HEADER_SDS;

	if (memcmp(page + SIGNATURE_OFF, signature, sizeof(signature)) != 0)
		return error_set(NOT_A_POOL, "no log pool: the signature is not PMEMLOG");
	if (le64_load(page + CHECKSUM_OFF) != checksum(page))
		return error_set(NOT_A_POOL, "the header's checksum does not match: it is damaged");
	if (le32_load(page + MAJOR_OFF) != MAJOR_VERSION)
		return error_set(NOT_A_POOL, "format version %u, only %d is known", le32_load(page + MAJOR_OFF),
				 MAJOR_VERSION);
	if (incompatible & ~known)
		return error_set(NOT_A_POOL, "unknown incompatible features 0x%x", incompatible & ~known);
	if (page[CLASS_OFF] != CLASS_64_BIT ||
	    page[ENCODING_OFF] != (__BYTE_ORDER == __LITTLE_ENDIAN ? ENCODING_LITTLE : ENCODING_BIG) ||
	    le32_load(page + RESERVED_OFF) != 0 || le16_load(page + MACHINE_OFF) != MACHINE ||
	    le64_load(page + ALIGNMENT_OFF) != alignment_descriptor())
		return error_set(NOT_A_POOL, "made on another kind of machine (ELF machine %u, this one is %d)",
				 le16_load(page + MACHINE_OFF), MACHINE);
	return 0;
}

static bool same_uuid(const char *page, int off, const uint8_t *uuid)
{
	return memcmp(page + off, uuid, UUID_BYTES) == 0;
}

int header_validate_place(const char *page, const struct header_place *place)
{
	if (header_is_single(page) != place->single_header)
		return error_set(NOT_A_POOL, "the header %s SINGLEHDR, the pool set %s",
				 header_is_single(page) ? "says" : "does not say",
				 place->single_header ? "does" : "does not");
	if (!same_uuid(page, SET_UUID_OFF, place->set))
		return error_set(NOT_A_POOL, "belongs to another pool set than the first part");
	if (!same_uuid(page, PREVIOUS_UUID_OFF, place->previous) || !same_uuid(page, NEXT_UUID_OFF, place->next))
		return error_set(NOT_A_POOL, "not in its place: its links name other parts than its neighbours");
	/* Only the first part's are read, as in PMDK. */
	if (place->own == place->first &&
	    (!same_uuid(page, PREVIOUS_REPLICA_OFF, place->first) || !same_uuid(page, NEXT_REPLICA_OFF, place->first)))
		return error_set(NOT_A_POOL, "its replica links do not name the first part");
	return 0;
}

const uint8_t *header_uuid(const char *page)
{
	return (const uint8_t *)page + OWN_UUID_OFF;
}

const uint8_t *header_set_uuid(const char *page)
{
	return (const uint8_t *)page + SET_UUID_OFF;
}

bool header_has_shutdown_state(const char *page)
{
	return le32_load(page + INCOMPATIBLE_OFF) & HEADER_SDS;
}

bool header_is_single(const char *page)
{
	return le32_load(page + INCOMPATIBLE_OFF) & HEADER_SINGLEHDR;
}

bool header_same_features(const char *page, const char *other)
{
	return memcmp(page + COMPATIBLE_OFF, other + COMPATIBLE_OFF, SET_UUID_OFF - COMPATIBLE_OFF) == 0;
}

bool header_forbids_writing(const char *page)
{
	return le32_load(page + READ_ONLY_COMPATIBLE_OFF) != 0;
}
