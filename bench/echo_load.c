/* The load of echo_bench.py: echo_load PORT CONNECTIONS SIZE

   Says "ready" when all are connected. Then, for each line with a number of seconds: keeps one
   message under way on every connection for so long, waits for the last echoes, and answers with
   the number of echoes and the nanoseconds that it took. Ends with its input. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 512, ROOM = 1 << 16 };

struct connection {
    int fd;
    int waits_to_write; /* The kernel was told so. */
    size_t sent, received;
};

static int queue;
static size_t size;
static char *message;
static char room[ROOM];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void watch(struct connection *it, int how, int to_write) {
    struct epoll_event event = {.events = EPOLLIN | (to_write ? EPOLLOUT : 0), .data.ptr = it};
    if (epoll_ctl(queue, how, it->fd, &event))
        fail("epoll_ctl");
    it->waits_to_write = to_write;
}

static void make(struct connection *it, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    it->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (it->fd < 0 || connect(it->fd, (struct sockaddr *)&address, sizeof address))
        fail("connect");
    if (setsockopt(it->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) ||
        fcntl(it->fd, F_SETFL, O_NONBLOCK))
        fail("setting up a socket");
    watch(it, EPOLL_CTL_ADD, 0);
}

static void send_more(struct connection *it) {
    ssize_t count = send(it->fd, message + it->sent, size - it->sent, 0);
    if (count < 0 && errno != EAGAIN)
        fail("send");
    it->sent += count > 0 ? count : 0;
    if ((it->sent < size) != it->waits_to_write)
        watch(it, EPOLL_CTL_MOD, it->sent < size);
}

static void start(struct connection *it) {
    it->sent = it->received = 0;
    send_more(it);
}

/* Whether that was the last of a message. */
static int receive(struct connection *it, int check) {
    size_t most = size - it->received < ROOM ? size - it->received : ROOM;
    ssize_t count = recv(it->fd, room, most, 0);
    if (count <= 0) {
        if (count < 0 && errno == EAGAIN)
            return 0;
        fail("recv, or the server has hung up");
    }
    if (check && memcmp(room, message + it->received, count)) {
        fprintf(stderr, "not what was sent\n");
        exit(1);
    }
    it->received += count;
    return it->received == size;
}

static void run(struct connection *all, int connections, double seconds) {
    struct epoll_event events[EVENTS];
    long long begin = now(), end = begin + (long long)(seconds * 1e9), echoes = 0;
    int busy = connections;
    for (int i = 0; i < connections; i++)
        start(&all[i]);
    while (busy) {
        int count = epoll_wait(queue, events, EVENTS, -1), over = now() >= end;
        for (int i = 0; i < count; i++) {
            struct connection *it = events[i].data.ptr;
            if (events[i].events & EPOLLOUT)
                send_more(it);
            if (events[i].events & ~EPOLLOUT && receive(it, over)) {
                echoes++;
                if (over)
                    busy--;
                else
                    start(it);
            }
        }
    }
    printf("%lld %lld\n", echoes, now() - begin);
    fflush(stdout);
}

int main(int argc, char **argv) {
    char line[64];
    if (argc != 4)
        return 2;
    int connections = atoi(argv[2]);
    struct connection *all = calloc(connections, sizeof *all);
    size = atoi(argv[3]);
    message = malloc(size);
    queue = epoll_create1(0);
    for (size_t i = 0; i < size; i++)
        message[i] = (char)(i * 31 >> 3);
    for (int i = 0; i < connections; i++)
        make(&all[i], atoi(argv[1]));
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin))
        run(all, connections, atof(line));
    return 0;
}
