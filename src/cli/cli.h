// SPDX-License-Identifier: Apache-2.0
// `skupper`: the command line. A table of commands; each checks all it was given, then acts. Names,
// flags, columns and exit codes are those of the reference (docs/cli.md).
#pragma once

// Runs one command. Returns the exit status: 0; 2 when what was given is not valid, with one line
// for each problem on standard output; 1 for any other failure, said on standard output, and for
// usage, said on standard error.
int cli_main(int argc, char **argv);
