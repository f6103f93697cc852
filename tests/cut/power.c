/*
 * power.c: one power cut by chance, in place, at the cost of the words that are undurable.
 *
 * Every possible image can come out. Those in which few words differ from "all" or "nothing", or from a moment between
 * two stores, or whole lines from each other, come more often than fair coins would give them: that is where logs
 * break.
 */
#include "cut/internal.h"

#include <string.h>

struct chance {
	uint64_t state;
	uint64_t moment;      /* stores up to here are there, later ones are not */
	uint32_t new_in_256;  /* how likely a word is the newest */
	uint32_t flip_in_256; /* how likely a word goes its own way */
	bool by_moment, by_line;
};

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint32_t below(struct chance *chance, uint32_t limit)
{
	return (uint32_t)(mix(chance->state += UINT64_C(0x9e3779b97f4a7c15)) >> 32) % limit;
}

static struct chance make_chance(const struct cut *cut, uint64_t seed)
{
	static const uint32_t new_in_256[] = {0, 4, 32, 128, 128, 224, 252, 256};
	static const uint32_t flip_in_256[] = {0, 0, 8, 48};
	struct chance chance = {.state = seed};
	uint64_t first = UINT64_MAX;

	for (uint32_t i = 0; i < cut->undurable_count; i++) {
		uint64_t stamp = word_versions(&cut->undurable[i])[1].stamp;
		first = stamp < first ? stamp : first;
	}
	chance.new_in_256 = new_in_256[below(&chance, 8)];
	chance.flip_in_256 = flip_in_256[below(&chance, 4)];
	chance.by_moment = below(&chance, 4) == 0;
	chance.by_line = below(&chance, 4) == 0;
	if (cut->undurable_count)
		chance.moment = first + below(&chance, (uint32_t)(cut->stamp - first) + 1);
	return chance;
}

static uint64_t choose(struct chance *chance, uint64_t line_salt, struct word *word)
{
	const struct version *versions = word_versions(word);
	uint32_t at = word->count - 1;

	if (below(chance, 256) < chance->flip_in_256)
		return versions[below(chance, word->count)].value;
	if (chance->by_moment) {
		while (at && versions[at].stamp > chance->moment)
			at--;
		return versions[at].value;
	}
	uint32_t drawn =
		chance->by_line ? (uint32_t)mix(line_salt + word->index / WORDS_PER_LINE) % 256 : below(chance, 256);
	if (drawn < chance->new_in_256)
		return versions[at].value;
	return versions[below(chance, at)].value;
}

void cut_power(struct cut *cut, uint64_t seed)
{
	cut_lock(cut);
	model_absorb_direct(cut);
	struct chance chance = make_chance(cut, seed);
	uint64_t line_salt = mix(seed);
	for (uint32_t i = 0; i < cut->undurable_count; i++) {
		struct word *word = &cut->undurable[i];
		uint64_t value = choose(&chance, line_salt, word);
		cut->known[word->index] = cut->durable[word->index] = value;
		memcpy(cut->medium.base + (size_t)word->index * CUT_WORD_BYTES, &value, sizeof(value));
	}
	cut_machine_restart(cut);
	cut_unlock(cut);
}
