// SPDX-License-Identifier: Apache-2.0
// Starting a command: which platform, which command, are the arguments right, run it.
//
// Where to read on: the tables of commands are in the files named after their groups; args.c takes
// words apart, output.c prints, help.c, complete.c and man.c tell people what there is.
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/inside.h"

#ifndef SKUPPER_VERSION
#define SKUPPER_VERSION "0"
#endif

const char cli_version[] = SKUPPER_VERSION;

const char *cli_platform_name(enum platform p)
{
    switch (p) {
    case ON_KUBERNETES:
        return "kubernetes";
    case ON_PODMAN:
        return "podman";
    case ON_DOCKER:
        return "docker";
    case ON_LINUX:
        return "linux";
    }
    return "";
}

static bool platform_of(const char *name, enum platform *out)
{
    for (unsigned p = ON_KUBERNETES; p <= ON_LINUX; p *= 2)
        if (strcmp(cli_platform_name(p), name) == 0) {
            *out = p;
            return true;
        }
    return false;
}

// The platform decides which flags there are, so its own flag is looked for first, wherever it
// stands.
static const char *platform_flag(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *word = argv[i];

        if ((strcmp(word, "-p") == 0 || strcmp(word, "--platform") == 0) && i + 1 < argc)
            return argv[i + 1];
        if (strncmp(word, "--platform=", 11) == 0)
            return word + 11;
        if (strncmp(word, "-p", 2) == 0 && word[2])
            return word + 2 + (word[2] == '=');
    }
    return NULL;
}

static bool has_kubeconfig(void)
{
    const char *home = getenv("HOME"), *config = getenv("KUBECONFIG");
    char *path;
    bool is_there;

    if (config && config[0])
        return true;
    if (getenv("KUBERNETES_SERVICE_HOST"))
        return true;
    if (!home)
        return false;
    path = str_fmt("%s/.kube/config", home);
    is_there = access(path, F_OK) == 0;
    free(path);
    return is_there;
}

static int choose_platform(struct cli *c, int argc, char **argv)
{
    const char *name = platform_flag(argc, argv);

    if (!name)
        name = getenv("SKUPPER_PLATFORM");
    if (!name || !name[0]) {
        c->platform = has_kubeconfig() ? ON_KUBERNETES : ON_LINUX;
        return EXIT_OK;
    }
    c->is_platform_chosen = true;
    if (platform_of(name, &c->platform))
        return EXIT_OK;
    return cli_fail(c, "platform \"%s\" not supported: use kubernetes, podman, docker or linux",
                    name);
}

// The command whose name the first words make up; *words says how many they are.
static const struct command *find(int argc, char **argv, int *words)
{
    for (const struct command *const *table = cli_tables; *table; table++)
        for (const struct command *c = *table; c->name; c++) {
            const char *at = c->name;
            int i = 0;

            while (*at && i < argc && strncmp(at, argv[i], strcspn(at, " ")) == 0 &&
                   argv[i][strcspn(at, " ")] == '\0') {
                at += strcspn(at, " ");
                at += *at == ' ';
                i++;
            }
            if (!*at) {
                *words = i;
                return c;
            }
        }
    return NULL;
}

static bool is_group(const char *word)
{
    size_t len = strlen(word);

    for (const struct command *const *table = cli_tables; *table; table++)
        for (const struct command *c = *table; c->name; c++)
            if (strncmp(c->name, word, len) == 0 && c->name[len] == ' ')
                return true;
    return false;
}

// A global flag whose value is the next word.
static bool takes_value(const char *word)
{
    static const char *const flags[] = {"-p",          "-n",        "-c",          "--platform",
                                        "--namespace", "--context", "--kubeconfig"};

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (strcmp(word, flags[i]) == 0)
            return true;
    return false;
}

// No command was named: help for what was, or a word that is unknown.
static int help_or_unknown(struct cli *c, int argc, char **argv)
{
    const char *first = NULL, *second = NULL;

    for (int i = 0; i < argc && !second; i++) {
        if (argv[i][0] == '-' || strcmp(argv[i], "help") == 0) {
            i += takes_value(argv[i]);
            continue;
        }
        if (first)
            second = argv[i];
        else
            first = argv[i];
    }
    if (!first || (is_group(first) && !second)) {
        cli_help(c->out, first ? first : "", c->platform);
        return EXIT_OK;
    }
    fprintf(c->err, "unknown command \"%s%s%s\" for \"skupper\"\n", first,
            is_group(first) ? " " : "", is_group(first) ? second : "");
    fprintf(c->err, "\"skupper %s%s--help\" lists what there is.\n", is_group(first) ? first : "",
            is_group(first) ? " " : "");
    return EXIT_FAILED;
}

static void check_count(struct cli *c)
{
    const struct command *command = c->command;
    int count = c->arg_count;

    if (count >= command->args_min && count <= command->args_max)
        return;
    if (command->args_max == 0)
        cli_problem(c, "this command takes no arguments: \"%s\" is not understood", c->args[0]);
    else
        cli_problem(c, "skupper %s takes %s; %d %s given", command->name, command->args, count,
                    count == 1 ? "argument was" : "arguments were");
}

void cli_say_default_platform(struct cli *c)
{
    if (c->platform == ON_LINUX && !c->is_platform_chosen)
        fprintf(c->err, "Platform: linux, as there is no kubeconfig (-p or SKUPPER_PLATFORM "
                        "chooses another)\n");
}

// The command is not one of this platform, or not yet.
static int refuse(struct cli *c)
{
    const char *name = c->command->name, *platform = cli_platform_name(c->platform);

    if (c->platform == ON_KUBERNETES && strncmp(name, "system ", 7) == 0) {
        cli_say(c, "This command does not support kubernetes platforms.");
        return EXIT_OK;
    }
    if (!(c->command->later & c->platform))
        return cli_fail(c,
                        "command not supported by the selected platform: skupper %s does not "
                        "exist on %s; -p linux is for sites on this host",
                        name, platform);
    return cli_fail(c,
                    "skupper %s: sites as containers (platform %s) are not built yet in this "
                    "version (%s); -p linux runs them as processes on this host",
                    name, platform, cli_version);
}

static int run_on_store(struct cli *c)
{
    struct store s;
    int status = store_open(c, &s);

    if (status != EXIT_OK)
        return status;
    status = c->command->run_on(c, &s);
    store_close(&s);
    return status;
}

static int run(struct cli *c, int argc, char **argv)
{
    struct why why = {""};

    if (cli_parse(c, argc, argv, &why) < 0) {
        cli_say(c, "%s", why.text);
        cli_usage(c->err, c->command, c->platform);
        return EXIT_FAILED;
    }
    if (cli_bool(c, "help")) {
        cli_help(c->out, c->command->name, c->platform);
        return EXIT_OK;
    }
    if (c->command->platforms && !(c->command->platforms & c->platform))
        return refuse(c);
    cli_check_choices(c);
    check_count(c);
    if (c->problem_count)
        return EXIT_INVALID;
    return c->command->run_on ? run_on_store(c) : c->command->run(c);
}

int cli_main(int argc, char **argv)
{
    struct cli c = {.out = stdout, .err = stderr};
    int words = 0, status = choose_platform(&c, argc, argv), first = 1;

    if (status != EXIT_OK)
        return status;
    // "-p linux site status": flags may stand in front of the command.
    while (first < argc && argv[first][0] == '-' && argv[first][1])
        first += 1 + takes_value(argv[first]);
    if (first < argc)
        c.command = find(argc - first, argv + first, &words);
    if (!c.command)
        return help_or_unknown(&c, argc - first, argv + first);
    // What stood in front goes behind.
    char **rest = calloc((size_t)argc, sizeof(*rest));
    int count = 0;

    if (!rest)
        return EXIT_FAILED;
    for (int i = 1; i < argc; i++)
        if (i < first || i >= first + words)
            rest[count++] = argv[i];
    status = run(&c, count, rest);
    free(rest);
    if (fflush(c.out) != 0 && status == EXIT_OK)
        status = EXIT_FAILED;
    return status;
}
