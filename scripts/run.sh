#!/bin/sh
# run.sh: what `make run` shows: the journal example, killed half-way, and then its stream through the tool.
#
# It leaves the stream behind. The exit status is 0 if nothing that was acknowledged was lost.
set -eu
cd "$(dirname "$0")/.."

stream=build/run/journal.stream
tool=build/release/src/tool/pmemstream
mkdir -p build/run

build/release/examples/example_journal "$stream"
last=$("$tool" tail -n 1 --format json "$stream" | sed 's/.*"timestamp":\([0-9]*\).*/\1/')

printf '\nThe middle of the timeline, where the writer was killed and all sources go on:\n\n'
"$tool" cat "$stream" --labels --since $((last / 2)) --count 8 | cut -c "1-${COLUMNS:-110}"
printf '\n'
"$tool" info "$stream"
cat <<END

The stream is still there. Three commands to try:

  $tool tail -n 3 $stream
  $tool check --deep $stream
  $tool append $stream --region notes --create 64K --durability each
END
