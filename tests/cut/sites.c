/*
 * sites.c: which places of the code under test call flush, fence, sync and redirty, and which of them are ignored.
 *
 * A place is the return address of the operation. Between runs of one program it is named by module and offset:
 * CUT_SITES_OUT=FILE   at exit, one line a place:  KIND MODULE+0xOFFSET CALLS
 * CUT_MUTE=LIST        ignores the places of a list of KIND@MODULE+0xOFFSET, separated by commas
 *
 * Threads  the table only grows; a place is claimed by one compare-and-swap of its address.
 */
#include "cut/faults.h"
#include "cut/internal.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PLACES_MAX = 1024, NAME_BYTES = 512 };

struct place {
	_Atomic uintptr_t address;
	_Atomic unsigned kind;
	_Atomic uint64_t calls;
	_Atomic bool muted;
};

static struct place places[PLACES_MAX];
static _Atomic unsigned place_count;
static pthread_mutex_t adding = PTHREAD_MUTEX_INITIALIZER;

static const char *kind_name(unsigned kind)
{
	return kind == CUT_FLUSH ? "flush" : kind == CUT_FENCE ? "fence" : kind == CUT_SYNC ? "sync" : "redirty";
}

/* "module+0xoffset" of an address; the module by its file name alone. */
static void name_address(uintptr_t address, char *name, size_t bytes, char *path, size_t path_bytes)
{
	Dl_info info;

	if (!dladdr((void *)address, &info) || !info.dli_fname) {
		snprintf(name, bytes, "?+0x%" PRIxPTR, address);
		snprintf(path, path_bytes, "?");
		return;
	}
	const char *slash = strrchr(info.dli_fname, '/');
	snprintf(name, bytes, "%s+0x%" PRIxPTR, slash ? slash + 1 : info.dli_fname,
		 address - (uintptr_t)info.dli_fbase);
	snprintf(path, path_bytes, "%s", info.dli_fname);
}

static bool muted_by_environment(uintptr_t address, enum cut_kind kind)
{
	const char *list = getenv("CUT_MUTE");
	char name[NAME_BYTES], path[NAME_BYTES], entry[NAME_BYTES + 16];

	if (!list)
		return false;
	name_address(address, name, sizeof(name), path, sizeof(path));
	snprintf(entry, sizeof(entry), "%s@%s", kind_name(kind), name);
	size_t length = strlen(entry);
	for (const char *at = list; (at = strstr(at, entry)); at += length)
		if ((at == list || at[-1] == ',') && (at[length] == ',' || !at[length]))
			return true;
	return false;
}

static struct place *find_place(uintptr_t address, enum cut_kind kind, unsigned from)
{
	unsigned count = atomic_load_explicit(&place_count, memory_order_acquire);

	for (unsigned i = from; i < count; i++)
		if (places[i].address == address && places[i].kind == (unsigned)kind)
			return &places[i];
	return NULL;
}

static struct place *add_place(uintptr_t address, enum cut_kind kind)
{
	pthread_mutex_lock(&adding);
	struct place *place = find_place(address, kind, 0);
	if (!place) {
		if (place_count == PLACES_MAX)
			cut_die("more than %d places that call the medium", PLACES_MAX);
		place = &places[place_count];
		place->address = address;
		place->kind = kind;
		place->muted = muted_by_environment(address, kind);
		atomic_fetch_add_explicit(&place_count, 1, memory_order_release);
	}
	pthread_mutex_unlock(&adding);
	return place;
}

bool site_called(uintptr_t address, enum cut_kind kind)
{
	struct place *place = find_place(address, kind, 0);

	if (!place)
		place = add_place(address, kind);
	atomic_fetch_add_explicit(&place->calls, 1, memory_order_relaxed);
	return place->muted;
}

unsigned cut_site_count(void)
{
	return place_count;
}

struct cut_site cut_site(unsigned index)
{
	const struct place *place = &places[index];

	if (index >= place_count)
		cut_die("no site %u", index);
	return (struct cut_site){
		.address = place->address, .kind = place->kind, .calls = place->calls, .muted = place->muted};
}

void cut_site_mute(unsigned index, bool muted)
{
	if (index >= place_count)
		cut_die("no site %u", index);
	places[index].muted = muted;
}

/* addr2line prints function and place of each inlined level; the first outside of medium.h is the caller. */
static bool ask_addr2line(const char *path, uintptr_t offset, char *text, size_t bytes)
{
	char command[NAME_BYTES + 64], function[200], line[200];
	bool found = false;

	snprintf(command, sizeof(command), "addr2line -sfie '%s' 0x%" PRIxPTR " 2>/dev/null", path, offset);
	FILE *out = popen(command, "r");
	if (!out)
		return false;
	while (fgets(function, sizeof(function), out) && fgets(line, sizeof(line), out)) {
		function[strcspn(function, "\n")] = '\0';
		line[strcspn(line, " \n")] = '\0';
		if (found || !strncmp(line, "medium.h:", 9) || line[0] == '?')
			continue;
		snprintf(text, bytes, "%s at %s", function, line);
		found = true;
	}
	pclose(out);
	return found;
}

const char *cut_site_text(uintptr_t address)
{
	static _Thread_local char text[NAME_BYTES];
	char path[NAME_BYTES];
	Dl_info info;

	if (!address)
		return "the test";
	name_address(address, text, sizeof(text), path, sizeof(path));
	if (!dladdr((void *)address, &info) || !info.dli_fname)
		return text;
	/* The call itself; where the compiler lost track of what was inlined into what, the instruction behind it. */
	uintptr_t offset = address - (uintptr_t)info.dli_fbase;
	if (!ask_addr2line(path, offset - 1, text, sizeof(text)))
		ask_addr2line(path, offset, text, sizeof(text));
	return text;
}

__attribute__((destructor)) static void write_sites(void)
{
	const char *out_path = getenv("CUT_SITES_OUT");
	char name[NAME_BYTES], path[NAME_BYTES];
	FILE *out = out_path && place_count ? fopen(out_path, "a") : NULL;

	if (!out)
		return;
	for (unsigned i = 0; i < place_count; i++) {
		name_address(places[i].address, name, sizeof(name), path, sizeof(path));
		fprintf(out, "%s %s %s %" PRIu64 "\n", kind_name(places[i].kind), name, path, places[i].calls);
	}
	fclose(out);
}
