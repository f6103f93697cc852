/*
 * bench.c: how many crash images a second. For each size of medium: making images alone, and the whole loop of a watch
 * (make the image, restart a cut on it, call a check that reads one word).
 */
#include "cut/cut.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { UNDURABLE = 200, SAMPLES = 20000 };

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int look(struct cut *after, const struct cut_moment *moment, void *context)
{
	(void)moment;
	*(uint64_t *)context += *(volatile uint64_t *)cut_medium(after)->base;
	return 0;
}

int main(void)
{
	static const size_t sizes[] = {8 << 10, 64 << 10, 256 << 10, 1 << 20};

	printf("%-10s %18s %18s\n", "medium", "images/s", "watched images/s");
	for (int s = 0; s < 4; s++) {
		struct cut *cut = cut_new(sizes[s], MEDIUM_CACHE_LINE);
		const struct cut_plan plan = {.samples = SAMPLES};
		uint64_t sum = 0, count = 0;
		char *image = malloc(sizes[s]);

		if (!image)
			return 1;
		for (uint64_t i = 0; i < UNDURABLE; i++)
			medium_store8(cut_medium(cut), (uint64_t *)cut_medium(cut)->base + i * 5, i + 1);
		double begin = now_s();
		struct cut_images *images = cut_images_begin(cut, &plan);
		while (cut_images_next(images, image))
			count++;
		cut_images_end(images);
		double made = now_s();
		struct cut_watch watch = {.plan = plan, .check = look, .context = &sum};
		cut_watch(cut, &watch);
		if (cut_check_now(cut))
			return 1;
		double watched = now_s();
		printf("%6zu KiB %18.0f %18.0f\n", sizes[s] >> 10, (double)count / (made - begin),
		       (double)cut_images_checked(cut) / (watched - made));
		free(image);
		cut_delete(cut);
	}
	return 0;
}
