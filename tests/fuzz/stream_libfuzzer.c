/*
 * stream_libfuzzer.c: the door for clang's libFuzzer, which looks for inputs by what they reach.
 */
#include "stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes)
{
	fuzz_stream(input, bytes);
	return 0;
}
