/* Resolves cognito.test as the first line of the file $NAMES says: a delay in milliseconds, and an address or an error
   of getaddrinfo (a negative number). Everything else is resolved as usual. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int resolver(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
  resolver *usual = (resolver *)dlsym(RTLD_NEXT, "getaddrinfo");
  if (!node || strcmp(node, "cognito.test")) return usual(node, service, hints, found);
  unsigned delay = 0;
  char answer[64] = "-2";
  FILE *names = fopen(getenv("NAMES"), "r");
  if (names) {
    if (fscanf(names, "%u %63s", &delay, answer) != 2) strcpy(answer, "-2");
    fclose(names);
  }
  usleep(delay * 1000);
  return *answer == '-' ? atoi(answer) : usual(answer, service, hints, found);
}
