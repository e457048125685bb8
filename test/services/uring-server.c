/*
 * A small HTTP/1.1 server whose every accept, recv and send goes through io_uring.
 * Usage: uring-server PORT LOG. Answers each request with 200 and its own path;
 * the log has one line a request: method, path.
 */
#include <arpa/inet.h>
#include <liburing.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS 256
#define REQUEST_MAX 16384

enum step { ACCEPTED = 1, RECEIVED, SENT };

static struct {
	char request[REQUEST_MAX];
	char response[REQUEST_MAX + 256];
	size_t filled, length;
} connections[CONNECTIONS];

static struct io_uring ring;
static FILE *log_file;

static struct io_uring_sqe *next(enum step step, int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	io_uring_sqe_set_data(sqe, (void *)((uintptr_t)step << 32 | (uint32_t)fd));
	return sqe;
}

static void receive(int fd)
{
	struct io_uring_sqe *sqe = next(RECEIVED, fd);
	uint64_t data = sqe->user_data;
	size_t filled = connections[fd].filled;

	io_uring_prep_recv(sqe, fd, connections[fd].request + filled, REQUEST_MAX - 1 - filled, 0);
	sqe->user_data = data;
}

/* A request that is whole is answered; requests without a body only. */
static void answer(int fd)
{
	char method[16], path[1024];
	char *request = connections[fd].request, *end;
	struct io_uring_sqe *sqe;
	uint64_t data;
	int body;

	request[connections[fd].filled] = 0;
	end = strstr(request, "\r\n\r\n");
	if (!end || sscanf(request, "%15s %1023s", method, path) != 2) {
		receive(fd);
		return;
	}
	fprintf(log_file, "{\"method\":\"%s\",\"path\":\"%s\",\"status\":200}\n", method, path);
	fflush(log_file);
	connections[fd].filled -= end + 4 - request;
	memmove(request, end + 4, connections[fd].filled);
	body = strlen(path) + 1;
	connections[fd].length = snprintf(connections[fd].response, sizeof(connections[fd].response),
					  "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
					  "Content-Length: %d\r\n\r\n%s\n",
					  body, path);
	sqe = next(SENT, fd);
	data = sqe->user_data;
	io_uring_prep_send(sqe, fd, connections[fd].response, connections[fd].length, MSG_WAITALL);
	sqe->user_data = data;
}

static void accept_next(int listener)
{
	struct io_uring_sqe *sqe = next(ACCEPTED, listener);
	uint64_t data = sqe->user_data;

	io_uring_prep_accept(sqe, listener, NULL, NULL, 0);
	sqe->user_data = data;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (argc != 3)
		return 2;
	log_file = fopen(argv[2], "a");
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons(atoi(argv[1]));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (!log_file || io_uring_queue_init(CONNECTIONS, &ring, 0) ||
	    bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 128)) {
		perror("uring-server");
		return 1;
	}
	accept_next(listener);
	for (;;) {
		struct io_uring_cqe *cqe;

		if (io_uring_submit_and_wait(&ring, 1) < 0)
			continue;
		while (io_uring_peek_cqe(&ring, &cqe) == 0) {
			enum step step = cqe->user_data >> 32;
			int fd = (uint32_t)cqe->user_data, result = cqe->res;

			io_uring_cqe_seen(&ring, cqe);
			if (step == ACCEPTED) {
				accept_next(listener);
				if (result < 0)
					continue;
				if (result >= CONNECTIONS) {
					close(result);
					continue;
				}
				connections[result].filled = 0;
				receive(result);
			} else if (result <= 0) {
				close(fd);
			} else if (step == RECEIVED) {
				connections[fd].filled += result;
				answer(fd);
			} else {
				receive(fd);
			}
		}
	}
}
