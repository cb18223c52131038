/* SPDX-License-Identifier: Apache-2.0
 *
 * Small UDP packets as fast as the kernel takes them, and a counter of those that arrive.
 *
 *   packets send ADDRESS PORT SECONDS BYTES     prints the packets sent
 *   packets receive PORT SECONDS                prints the packets received and the seconds from first to last
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define MOST 2048

static char buffers[BATCH][MOST];
static struct iovec pieces[BATCH];
static struct mmsghdr messages[BATCH];

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void prepare(size_t bytes)
{
    for (int i = 0; i < BATCH; i++) {
        pieces[i].iov_base = buffers[i];
        pieces[i].iov_len = bytes;
        messages[i].msg_hdr.msg_iov = &pieces[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
}

static int fail(const char *what)
{
    perror(what);
    return 1;
}

static int send_packets(const char *address, const char *port, double seconds, size_t bytes)
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST}, *target;
    if (getaddrinfo(address, port, &hints, &target) != 0)
        return fail("address");
    int handle = socket(target->ai_family, SOCK_DGRAM, 0);
    if (handle < 0 || connect(handle, target->ai_addr, target->ai_addrlen) != 0)
        return fail("connect");
    prepare(bytes);
    unsigned long sent = 0;
    for (double end = now() + seconds; now() < end;) {
        int count = sendmmsg(handle, messages, BATCH, 0);
        if (count > 0)
            sent += count;
        else if (errno != ENOBUFS && errno != EAGAIN && errno != ECONNREFUSED)
            return fail("sendmmsg");
    }
    printf("%lu\n", sent);
    return 0;
}

static int receive_packets(const char *port, double seconds)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(port))};
    int handle = socket(AF_INET6, SOCK_DGRAM, 0), room = 4 << 20;
    setsockopt(handle, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (handle < 0 || bind(handle, (struct sockaddr *)&any, sizeof any) != 0)
        return fail("bind");
    prepare(MOST);
    puts("ready");
    fflush(stdout);
    unsigned long received = 0;
    double first = 0, last = 0;
    for (double end = now() + seconds; now() < end;) {
        struct pollfd ready = {.fd = handle, .events = POLLIN};
        if (poll(&ready, 1, 100) <= 0)
            continue;
        int count = recvmmsg(handle, messages, BATCH, MSG_DONTWAIT, NULL);
        if (count <= 0)
            continue;
        last = now();
        if (received == 0)
            first = last;
        received += count;
    }
    printf("%lu %.6f\n", received, last - first);
    return 0;
}

int main(int count, char **words)
{
    if (count == 6 && strcmp(words[1], "send") == 0)
        return send_packets(words[2], words[3], atof(words[4]), atoi(words[5]));
    if (count == 4 && strcmp(words[1], "receive") == 0)
        return receive_packets(words[2], atof(words[3]));
    fputs("packets send ADDRESS PORT SECONDS BYTES | packets receive PORT SECONDS\n", stderr);
    return 2;
}
