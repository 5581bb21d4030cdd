/* Moves the system clock and the clock that counts the time asleep by the seconds in the file $CLOCKS: two numbers. The
   clock of timers stays as it is. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = syscall(SYS_clock_gettime, clock, now);
  if (failed || (clock != CLOCK_REALTIME && clock != CLOCK_BOOTTIME)) return failed;
  char text[64] = "";
  int file = open(getenv("CLOCKS"), O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  long system = 0, boot = 0;
  if (read(file, text, sizeof text - 1) > 0) sscanf(text, "%ld %ld", &system, &boot);
  close(file);
  now->tv_sec += clock == CLOCK_REALTIME ? system : boot;
  return 0;
}
